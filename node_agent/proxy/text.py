"""The fixed parts of nginx's configuration. Every `{…}` is filled by render.py with a checked and quoted value."""

from node_agent.proxy import mime

TEMPORARY = ("body", "proxy", "fastcgi", "uwsgi", "scgi")

# The client's forwarding headers are replaced, never extended. Host is the name by which nginx chose the server, with
# the client's port. Of the upgrades only websocket passes (h2c would tunnel past the proxy).
# A request goes to an application once: repeating it could order twice.
HEADERS = (
    ("Host", "$host$dployr_port"),
    ("X-Real-IP", "$remote_addr"),
    ("X-Forwarded-For", "$remote_addr"),
    ("X-Forwarded-Proto", "$scheme"),
    ("X-Forwarded-Host", "$host$dployr_port"),
    ("X-Forwarded-Port", '""'),
    ("X-Forwarded-Server", '""'),
    ("Forwarded", '""'),
    ("Proxy", '""'),
    ("Proxy-Connection", '""'),
    ("TE", '""'),
    ("Upgrade", "$dployr_upgrade"),
    ("Connection", "$dployr_connection"),
)
MAIN = """\
{user}worker_processes {workers};
daemon off;
pid {pid};
error_log {errors} crit;
worker_rlimit_nofile 8192;
worker_shutdown_timeout 600s;

events {{
    worker_connections 4096;
}}

http {{
    include mime.conf;
    default_type application/octet-stream;
    charset utf-8;
    access_log off;
    server_tokens off;
    absolute_redirect off;
    sendfile on;
    tcp_nopush on;
    server_names_hash_max_size 16384;
    server_names_hash_bucket_size 512;

    client_header_timeout 15s;
    client_body_timeout 15s;
    send_timeout 60s;
    keepalive_timeout 75s;
    client_max_body_size 25m;
    client_body_temp_path {temporary[body]};
    proxy_temp_path {temporary[proxy]};
    fastcgi_temp_path {temporary[fastcgi]};
    uwsgi_temp_path {temporary[uwsgi]};
    scgi_temp_path {temporary[scgi]};

    map $http_host $dployr_port {{
        default "";
        "~^[^:]+(?<dployr_given>:[0-9]{{1,5}})$" $dployr_given;
    }}
    map $http_upgrade $dployr_upgrade {{
        default "";
        "~*^websocket$" websocket;
    }}
    map $dployr_upgrade $dployr_connection {{
        default close;
        websocket upgrade;
    }}

    proxy_http_version 1.1;
@headers@    proxy_next_upstream off;
    proxy_redirect off;
    proxy_connect_timeout 5s;
    proxy_send_timeout 60s;
    proxy_read_timeout 300s;

    server {{
        listen {listen} default_server;
        server_name "";
        location / {{
            default_type text/plain;
            return 404 "There is no application at this address.\\n";
        }}
    }}

    server {{
        listen {status};
        location = /generation {{
            default_type text/plain;
            return 200 "{generation}\\n";
        }}
        location / {{
            return 404;
        }}
    }}

{includes}}}
""".replace("@headers@", "".join(f"    proxy_set_header {name} {value};\n" for name, value in HEADERS))

NOT_FOUND = """\
    location / {
        default_type text/plain;
        return 404 "There is no application at this address.\\n";
    }
"""

STATIC = """\
    location {path} {{
        alias {root};
        disable_symlinks on {boundary};
        index index.html;
        try_files $uri $uri/ $uri.html =404;
{extra}        location ~ "/\\.(?!well-known/)" {{
            return 404;
        }}
    }}
"""

# The name of the file of users is the route's id; nginx finds it beside its main file.
MAINTENANCE = (
    "default_type text/html;",
    "add_header Retry-After 120 always;",
    "add_header Cache-Control no-store always;",
    (
        'return 503 "<!doctype html><title>Maintenance</title><h1>Back soon</h1>'
        '<p>This site is being worked on. Please try again in a few minutes.</p>";'
    ),
)

DOWN = (
    "default_type text/plain;",
    "add_header Cache-Control no-store always;",
    'return 502 "The application is not running.\\n";',
)

MIME = (
    "types {\n"
    + "".join(f"    {kind} {' '.join(endings)};\n" for kind, endings in sorted(mime.TYPES.items()))
    + "}\n"
    + f"charset_types {' '.join(mime.CHARSET_TYPES)};\n"
)
