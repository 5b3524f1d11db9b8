import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { createRequire } from "node:module";
import { WebSocket, WebSocketServer } from "ws";

if (process.argv[2] === "--version") {
    console.log(createRequire(import.meta.url)("ws/package.json").version, "on Node.js", process.version);
    process.exit(0);
}

const { PORT, CERT, KEY } = process.env;
const server = CERT
    ? https.createServer({ cert: readFileSync(CERT), key: readFileSync(KEY) })
    : http.createServer();
const sockets = new WebSocketServer({ server, perMessageDeflate: false, maxPayload: 16 << 20 });
const rooms = new Map();

function join(name, socket) {
    const room = rooms.get(name) ?? new Set();
    rooms.set(name, room.add(socket));
    socket.on("close", () => room.delete(socket));
    return room;
}

sockets.on("connection", (socket, { url }) => {
    socket.on("error", () => {});
    if (url === "/echo") {
        socket.on("message", (message, binary) => socket.send(message, { binary }));
        return;
    }
    const room = join(url.slice("/room/".length), socket);
    socket.on("message", (message, binary) => {
        for (const member of room)
            if (member.readyState === WebSocket.OPEN) member.send(message, { binary });
    });
});
server.listen({ port: Number(PORT), host: "127.0.0.1", backlog: 4096 });
