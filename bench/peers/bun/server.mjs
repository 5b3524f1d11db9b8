const { PORT, CERT, KEY } = process.env;

const server = Bun.serve({
    hostname: "127.0.0.1",
    port: Number(PORT),
    ...(CERT ? { tls: { cert: Bun.file(CERT), key: Bun.file(KEY) } } : {}),
    fetch(request, here) {
        const path = new URL(request.url).pathname;
        const room = path.startsWith("/room/") ? path.slice("/room/".length) : null;
        if (room === null && path !== "/echo") return new Response("", { status: 404 });
        if (here.upgrade(request, { data: { room } })) return undefined;
        return new Response("", { status: 426 });
    },
    websocket: {
        perMessageDeflate: false,
        maxPayloadLength: 16 << 20,
        idleTimeout: 120,
        open(socket) {
            if (socket.data.room) socket.subscribe(socket.data.room);
        },
        message(socket, message) {
            if (socket.data.room) server.publish(socket.data.room, message);
            else socket.send(message);
        },
    },
});
