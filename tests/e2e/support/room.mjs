// Members of a chat room who speak chat.v1.
import assert from 'node:assert/strict';
import { connect } from './client.mjs';

/** A member that has been welcomed and seen by the others: its `welcome` is kept. */
export async function enter(url) {
  const client = await connect(url, 'chat.v1');
  assert.equal(client.socket.protocol, 'chat.v1');
  client.welcome = await client.until('welcome');
  await client.until('joined', ({ id }) => id === client.welcome.id);
  return client;
}

export const tell = (client, message) => client.send(JSON.stringify(message));
export const leave = (...clients) => Promise.all(clients.map((client) => client.close()));
