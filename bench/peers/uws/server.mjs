import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
if (process.argv[2] === "--version") {
    console.log(require("@trufflesuite/uws-js-unofficial/package.json").version);
    process.exit(0);
}

const uws = require("@trufflesuite/uws-js-unofficial");
if (!uws.getParts) {
    // The package then serves with a stand-in of its own on ws, which is not what is measured.
    console.error(`uWebSockets has no binary for Node.js ${process.version}`);
    process.exit(1);
}
const { PORT, CERT, KEY } = process.env;
const app = CERT ? uws.SSLApp({ cert_file_name: CERT, key_file_name: KEY }) : uws.App();
const limits = {
    compression: uws.DISABLED,
    maxPayloadLength: 16 << 20,
    maxBackpressure: 1 << 20,
    idleTimeout: 120,
};

app.ws("/echo", {
    ...limits,
    message: (socket, message, binary) => socket.send(message, binary),
});
app.ws("/room/:name", {
    ...limits,
    upgrade: (answer, request, context) =>
        answer.upgrade(
            { room: request.getParameter(0) },
            request.getHeader("sec-websocket-key"),
            request.getHeader("sec-websocket-protocol"),
            request.getHeader("sec-websocket-extensions"),
            context,
        ),
    open: (socket) => socket.subscribe(socket.room),
    message: (socket, message, binary) => app.publish(socket.room, message, binary),
});
app.listen("127.0.0.1", Number(PORT), (listening) => {
    if (!listening) {
        console.error(`port ${PORT} can't be listened on`);
        process.exit(1);
    }
});
