// Answers every request with which release and which Node it is. Listens on $PORT; ends its requests on SIGTERM.
"use strict";

const http = require("node:http");
const ms = require("ms");

const release = process.env.DPLOYR_RELEASE || "none";

const server = http.createServer((request, response) => {
  console.log(`${request.method} ${request.url}`);
  response.setHeader("Content-Type", "text/plain; charset=utf-8");
  response.end(`Hello from Node ${process.version}, release ${release}, up for ${ms(Math.round(process.uptime() * 1000))}\n`);
});

server.listen(Number(process.env.PORT || 3000), () => console.log(`listening on ${server.address().port}`));

process.on("SIGTERM", () => {
  console.log("ending: no new requests, the running ones are answered");
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
