"""Why a release fails: every `reason` that the host gives, when it is given, and what its owner does then.

The sentence of one failure, with its names and numbers, is made where it happens. docs/reference/failures.md is made from
this table, and a test holds it against the code.
"""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, slots=True)
class Failure:
    """`step` is where on its way the release is; the two others are sentences."""

    step: str
    means: str
    to_do: str


def _of(step: str, **failures: tuple[str, str]) -> dict[str, Failure]:
    return {code: Failure(step, means, to_do) for code, (means, to_do) in failures.items()}


FAILURES: Mapping[str, Failure] = {
    **_of(
        "Getting the source",
        branch_not_found=("The branch or tag is not in the repository.", "Push it, or name another one in `branch`."),
        commit_not_found=(
            "The commit is not in the repository, or was given in part and cannot be found by that.",
            "Push it, or give all 40 digits of another one in `commit`.",
        ),
        repository_not_found=(
            "The server knows no such repository, or does not show it to us.",
            "Check `remote`; for a private one give `git_token`, or add the deploy key to the repository.",
        ),
        remote_refused=(
            "The remote's form is not allowed, or its name leads to an address that is not public.",
            "Give a public https remote; the operator of the host allows others with `git_allow`.",
        ),
        bad_git_token=(
            "The token has characters that no server takes.",
            "Set `git_token` again, as the server showed it.",
        ),
        host_key_refused=(
            "The server of an ssh remote has another key than the known one.",
            "Compare it with what the server's operator publishes, then set `git_host_key`.",
        ),
        fetch_failed=(
            "The server, or the name service, did not answer as it should; the sentence has its words.",
            "Deploy again when it is well.",
        ),
        fetch_timeout=("The source did not come in time.", "See whether the server is well; make the source smaller."),
        bad_repository=(
            "git refuses an object in the repository as malformed or hostile.",
            "Mend the history with `git fsck`.",
        ),
        bad_submodule=(
            "A submodule has an address or a form that is not allowed.",
            "Give it a whole https address, or leave `submodules` out.",
        ),
        source_too_large=(
            "The source has more entries, bytes or directories in each other than a host takes.",
            "Leave out of it what the build makes or installs.",
        ),
        checkout_failed=(
            "git could not write the files of the commit.",
            "Read its words; see whether the host has room, and deploy again: a damaged mirror is fetched anew.",
        ),
        git_missing=("The host lacks a program that fetching needs.", "Install the package that the sentence names."),
        no_archive=("The source is `local`, and nothing was uploaded yet.", "Upload it, or use `dployr deploy DIR`."),
        archive_gone=("The uploaded source is no longer kept.", "Upload it again."),
        bad_archive=(
            "The uploaded source is damaged, too large, or holds links or files that are not allowed.",
            "Pack it anew, without what the sentence names.",
        ),
    ),
    **_of(
        "Reading the source",
        bad_manifest=(
            "`dployr.yaml` (`.json`, `.toml`) has faults; the sentence lists them.",
            "Mend the file and push.",
        ),
        unknown_runtime=("Nothing in the source says what it is.", "Set `runtime`, in the request or in the manifest."),
        no_run_cmd=("Nothing says how the app is started.", "Set `run_cmd`, or add a Procfile."),
        no_such_process=(
            "`process_replicas` names a process of which neither the deployment nor its source says how it is started.",
            "Give it a command in `processes`, or leave its replicas out.",
        ),
        bad_working_dir=("`working_dir` is no directory inside the source.", "Correct it."),
        bad_static_dir=(
            "What is to be served is no directory inside the build, or has no `index.html`.",
            "Set `static_dir`.",
        ),
    ),
    **_of(
        "Building",
        toolchain_unavailable=(
            "The host has no such version, and cannot get it.",
            "Take one of those that the sentence lists, or install it on the host.",
        ),
        build_failed=(
            "The build command failed; the sentence has its last lines.",
            "Read the build log, mend it, deploy again.",
        ),
        build_timeout=(
            "The build did not end in time, and was ended with all that it started.",
            "Make it shorter, or end by itself.",
        ),
        interrupted=("Restarts of the host interrupted the build too often.", "Deploy again when the host is well."),
        bad_build_tree=(
            "The build left something that cannot become a release.",
            "Let the build remove what the sentence names.",
        ),
        link_out_of_tree=("A link leads out of the source.", "Make it relative, and inside the source."),
        volume_conflict=(
            "Something is in the source, or was left by the build, where a volume is to be; or the app is a static site.",
            "Move what the sentence names, or give the volume another `mount`.",
        ),
        special_file=("The build left a device, FIFO or socket.", "Let the build remove it."),
        build_too_large=(
            "The build took more bytes or files than `resources.disk`, or the host, allows.",
            "Let it write less, or raise `resources.disk`.",
        ),
        disk_full=(
            "The disk of the host has no room for the build beside what is kept for the host.",
            "Delete what is not needed (`dployr disk` shows it), then deploy again.",
        ),
        host_error=(
            "The host could not do its part; the sentence has the system's words.",
            "See to the host's disk and permissions.",
        ),
        release_command_failed=(
            "The release command (Procfile `release:`) failed; the former release serves on.",
            "Read the build log, mend it, deploy again.",
        ),
    ),
    **_of(
        "Starting",
        impossible_limit=(
            "No program can live within the limits of `resources`.",
            "Raise the one that the sentence names.",
        ),
        no_port=("All ports that the host gives out are taken.", "Delete services, or use another host."),
        port_in_use=(
            "The fixed port is taken, or one of those that the host gives out by itself.",
            "Stop what has it, or declare another port.",
        ),
        crashed=(
            "The app ended before it was healthy; the sentence has its exit and its last lines.",
            "Mend `run_cmd`, or what the app needs.",
        ),
        out_of_memory=(
            "The app was ended for its memory before it was healthy.",
            "Raise `resources.memory`, or make it use less.",
        ),
        process_gone=("The process was stopped from outside before it was healthy.", "Deploy again."),
        unsteady=("A process without requests did not stay up.", "Read its log."),
        never_listened=(
            "The app did not listen on `PORT` in time.",
            "Let it listen there, or raise `health_check.start_period`.",
        ),
        wrong_port=("The app listens on another port than `PORT`.", "Make it use the variable `PORT`."),
        wrong_address=(
            "The app listens on `PORT`, but not where requests come, or another program listens there too.",
            "Make it listen at 127.0.0.1, or at every address.",
        ),
        fixed_port=(
            "The app listens on its declared port instead of `PORT`.",
            "Make it use `PORT`, or set `port_mode` to `fixed`: then each deploy has a gap.",
        ),
        unhealthy=(
            "The app listens, and its health check did not pass in time; the sentence has the last answer.",
            "Mend the app or `health_check`.",
        ),
        unsupported_check=("The host knows no such kind of health check.", "Change `health_check.kind`."),
    ),
    **_of(
        "Going live",
        canary_crashed=(
            "The canary crashed; the former release has all requests again.",
            "Read its log, mend it, deploy again.",
        ),
        canary_failed=(
            "More requests failed on the canary than on the former release, which has all again.",
            "Read its log, mend it, deploy again.",
        ),
        proxy_failed=(
            "nginx could not take the new release; the former one serves on.",
            "Read its words; `dployr-agent doctor` on the host.",
        ),
        unknown_release=("The host lost what the release is.", "Deploy again."),
    ),
}
