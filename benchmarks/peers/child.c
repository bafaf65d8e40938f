/* What every supervisor of the bench supervises: small, so that its own start hides nothing.

   child stamp FILE          say in FILE that it runs (pid and monotonic nanoseconds), then sleep
   child write FILE N GO     say so in FILE; write N numbered lines of 100 bytes once GO exists, say so again, then sleep
   child flood FILE MB GO    say so in FILE; write as fast as it can while GO exists, at most MB each time
   child tick FILE           say so in FILE; write a numbered line every 10 ms */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void stamp(const char *file) {
  struct timespec now;
  char text[64];
  clock_gettime(CLOCK_MONOTONIC, &now);
  int size = snprintf(text, sizeof text, "%d %lld\n", getpid(), now.tv_sec * 1000000000LL + now.tv_nsec);
  int fd = open(file, O_WRONLY | O_CREAT | O_APPEND, 0666);
  if (fd < 0 || write(fd, text, size) != size) exit(9);
  close(fd);
}

static void pause_ms(int ms) {
  struct timespec time = {0, ms * 1000000L};
  nanosleep(&time, NULL);
}

static void line(long number) {
  char text[100];
  memset(text, '0', 99);
  text[99] = '\n';
  for (int at = 9; number; at--, number /= 10) text[at] += number % 10;
  text[10] = ' ';
  if (fwrite(text, 1, 100, stdout) != 100) exit(8);
}

int main(int count, char **word) {
  if (count < 3) return 64;
  const char *what = word[1];
  stamp(word[2]);
  if (!strcmp(what, "write") && count == 5) {
    while (access(word[4], F_OK)) pause_ms(1);
    for (long number = 1, last = atol(word[3]); number <= last; number++) line(number);
    fflush(stdout);
    stamp(word[2]);
  } else if (!strcmp(what, "flood") && count == 5) {
    for (;;) {
      for (long left = atol(word[3]) * 10000, number = 0; left-- && (number++ % 100 || !access(word[4], F_OK));) line(number);
      while (!access(word[4], F_OK)) pause_ms(1);
      while (access(word[4], F_OK)) pause_ms(1);
    }
  } else if (!strcmp(what, "tick")) {
    for (long number = 1;; number++) {
      line(number);
      fflush(stdout);
      pause_ms(10);
    }
  }
  for (;;) pause();
}
