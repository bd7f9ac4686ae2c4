// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from '../../electron/contract/zod.ts';
import { firstWords, type Who, World } from '../world/world.ts';

/* Loopback keeps no other user of a computer out of `tapyard serve`; serve asks the kernel whose a connection is. */

let world: World;
let port: number;

const Answer = z.object({ connected: z.boolean(), text: z.string() });

/** Connects to serve with a request at once, and answers what came back until the connection was closed. */
async function ask(as: Who): Promise<z.infer<typeof Answer>> {
  const client = `let connected = false, text = '';
    const socket = require('node:net').connect(${port}, '127.0.0.1', () => {
      connected = true;
      socket.write('GET / HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n');
    });
    socket.on('data', (chunk) => (text += chunk)).on('error', () => {})
      .on('close', () => console.log(JSON.stringify({ connected, text })));`;
  return Answer.parse(JSON.parse(await world.must([process.execPath, '-e', client], { as })));
}

beforeAll(async () => {
  world = World.create();
  const words = await firstWords(world.start(world.tapyardCommand(['serve'])), 'tapyard serve');
  port = Number(/\.localhost:(\d+)/.exec(words)?.[1]);
});
afterAll(() => world?.close());

test('a connection of the user who serves is answered', async () => {
  expect(await ask('user')).toMatchObject({ connected: true, text: expect.stringMatching(/^HTTP\/1\.1 \d/) });
});

test('another user’s connection is closed, root’s too, and not a byte comes back', async () => {
  expect(await ask('root')).toEqual({ connected: true, text: '' });
});
