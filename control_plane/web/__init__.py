"""From a socket to Flask and back: embedded server, WSGI bridge with async streams, the way into the core, the app."""
