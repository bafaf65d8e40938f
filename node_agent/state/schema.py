"""The journal's tables as numbered upgrades. A released number never changes; append."""

UPGRADES: tuple[tuple[str, ...], ...] = (
    (
        (
            "CREATE TABLE wishes (service_id TEXT PRIMARY KEY, generation INTEGER NOT NULL, spec TEXT NOT NULL,"
            " forgotten INTEGER NOT NULL DEFAULT 0) STRICT"
        ),
        "CREATE TABLE live (service_id TEXT PRIMARY KEY, release INTEGER NOT NULL, restart INTEGER NOT NULL) STRICT",
        (
            "CREATE TABLE releases (service_id TEXT NOT NULL, number INTEGER NOT NULL, spec TEXT NOT NULL,"
            " state TEXT NOT NULL, reason TEXT NOT NULL, message TEXT NOT NULL, commit_id TEXT NOT NULL,"
            " changed_at REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (service_id, number)) STRICT"
        ),
        (
            "CREATE TABLE failures (service_id TEXT NOT NULL, release INTEGER NOT NULL, restart INTEGER NOT NULL,"
            " message TEXT NOT NULL, PRIMARY KEY (service_id, release, restart)) STRICT"
        ),
        "CREATE TABLE sites (service_id TEXT PRIMARY KEY, site TEXT NOT NULL) STRICT",
        "CREATE TABLE ports (port INTEGER PRIMARY KEY, process_id TEXT UNIQUE, freed_at REAL) STRICT",
        (
            "CREATE TABLE spool (sequence INTEGER PRIMARY KEY AUTOINCREMENT, service_id TEXT NOT NULL UNIQUE,"
            " report TEXT NOT NULL) STRICT"
        ),
    ),
    # Specifications have fields that an older program does not know (secrets, archives, route options): it must not
    # open this journal. What an older program wrote lacks them, and they have their defaults.
    (),
    # A site has a list of ports. An older program must not read it.
    (
        (
            "UPDATE sites SET site = json_remove(json_set(site, '$.upstream.ports', CASE json_extract(site,"
            " '$.upstream.port') WHEN 0 THEN json_array() ELSE json_array(json_extract(site, '$.upstream.port')) END),"
            " '$.upstream.port')"
        ),
    ),
    # Runs of cron entries. A specification may have entries.
    (
        (
            "CREATE TABLE cron_runs (service_id TEXT NOT NULL, entry TEXT NOT NULL, release INTEGER NOT NULL,"
            " minute INTEGER NOT NULL, started_at REAL NOT NULL, outcome TEXT NOT NULL,"
            " PRIMARY KEY (service_id, entry, minute)) STRICT"
        ),
    ),
)
