// SPDX-License-Identifier: Apache-2.0
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request, type IncomingHttpHeaders, type RequestOptions } from 'node:http';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { connect } from '../../../electron/contract/connect.ts';
import { z } from '../../../electron/contract/zod.ts';
import { TapyardError } from '../../../electron/contract/error.ts';
import { serveChannel } from '../../../electron/contract/dispatch.ts';
import { serve, type Serving } from '../../../electron/serve/serve.ts';
import { proofOf, Sessions, tokenLifetime } from '../../../electron/serve/session.ts';
import { webSocketChannel } from '../../../electron/serve/channel.ts';
import { ownerOf, peerUid } from '../../../electron/serve/peer.ts';
import { stubServer } from './stub-server.ts';

let dir: string;
let serving: Serving;
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'tapyard-serve-'));
  mkdirSync(join(dir, 'assets'));
  writeFileSync(join(dir, 'index.html'), '<!doctype html><title>x</title>');
  writeFileSync(join(dir, 'assets', 'a-1.js'), `//${'x'.repeat(5000)}`);
  writeFileSync(join(dir, 'assets', 'a-1.js.map'), '{}');
  serving = await serve({ at: { port: 0 }, page: dir, attach });
});
afterEach(async () => {
  await serving.close();
  rmSync(dir, { recursive: true });
});

const attach: Parameters<typeof serve>[0]['attach'] = (channel) => {
  serveChannel(channel, stubServer(), { audience: 'anyone' });
  channel.resume();
  return Promise.resolve();
};

const port = (): number => Number(new URL(serving.origin).port);
const host = (): string => new URL(serving.origin).host;

function get(
  path: string,
  options: Omit<RequestOptions, 'headers'> & { headers?: Record<string, string> } = {},
): Promise<{ status: number; headers: IncomingHttpHeaders; body: string }> {
  return new Promise((resolve, reject) => {
    const asked = request(
      { host: '127.0.0.1', port: port(), path, ...options, headers: { host: host(), ...options.headers } },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(chunks).toString(),
          }),
        );
      },
    );
    asked.on('error', reject);
    asked.end();
  });
}

/** Written out: a weaker policy is to be seen here. */
const policy =
  "default-src 'none'; script-src 'self'; style-src-elem 'self' 'unsafe-inline'; style-src-attr 'none'; " +
  "img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; " +
  "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

describe('the page', () => {
  it('comes with the policy and the other headers', async () => {
    const { status, headers, body } = await get('/');
    expect(status).toBe(200);
    expect(body).toContain('<!doctype html>');
    expect(headers).toMatchObject({
      'content-security-policy': policy,
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-resource-policy': 'same-origin',
      'cache-control': 'no-store',
    });
    expect(headers['set-cookie']).toBeUndefined();
    const script = await get('/assets/a-1.js', { headers: { 'accept-encoding': 'gzip' } });
    expect(script.headers['content-encoding']).toBe('gzip');
    expect(script.headers['cache-control']).toContain('immutable');
  });

  it('is all that can be had: no other path, no other method, no other host', async () => {
    for (const path of ['/../package.json', '/%2e%2e/x', '/assets/a-1.js.map', '/assets/', '//etc/passwd']) {
      expect((await get(path)).status).toBe(404);
    }
    expect((await get('/', { headers: { host: `127.0.0.1:${port()}` } })).status).toBe(403);
    expect((await get('/', { headers: { host: `evil.example:${port()}` } })).status).toBe(403);
    expect((await get('/', { headers: { origin: 'http://evil.example' } })).status).toBe(403);
    expect((await get('/', { method: 'POST' })).status).toBe(403);
    expect((await get('/', { method: 'POST', headers: { origin: serving.origin } })).status).toBe(405);
    expect((await get('/', { method: 'HEAD' })).body).toBe('');
  });

  it('is refused with words where it was not built', async () => {
    await expect(serve({ at: { port: 0 }, page: join(dir, 'none'), attach })).rejects.toMatchObject({
      code: 'RENDERER_MISSING',
    });
    await expect(serve({ at: { port: port() }, page: dir, attach })).rejects.toMatchObject({
      code: 'SERVE_FAILED',
    });
  });

  it('takes no socket away from a program that listens on it', async () => {
    const path = join(dir, 'agent.sock');
    const agent = createServer((socket) => socket.on('error', () => undefined).end('mine')).listen(path);
    await once(agent, 'listening');
    await expect(serve({ at: { socket: path }, page: dir, attach })).rejects.toMatchObject({
      code: 'SERVE_FAILED',
      message: expect.stringContaining(path),
    });
    const [words] = await once(createConnection({ path }), 'data');
    expect(String(words)).toBe('mine');
    agent.close();
  });

  it('can be served on a unix socket that is closed to others', async () => {
    const path = join(dir, 's');
    const local = await serve({ at: { socket: path }, page: dir, attach });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const name = new URL(local.origin).host;
    const answer = (sent: string) => get('/', { socketPath: path, headers: { host: sent } });
    expect((await answer(`${name}:8057`)).status).toBe(200);
    expect((await answer('localhost:8057')).status).toBe(403);
    await local.close();
  });
});

const Said = z.looseObject({
  t: z.string(),
  challenge: z.string().optional(),
  id: z.string().optional(),
  key: z.string().optional(),
});
type Said = z.infer<typeof Said>;

/** A page's WebSocket up to its challenge; `next` is what serve says after an introduction. */
async function page(headers: Record<string, string> = {}) {
  const socket = new WebSocket(`ws://127.0.0.1:${port()}/wire`, {
    headers: { host: host(), origin: serving.origin, ...headers },
  });
  const said: Said[] = [];
  let wake: (() => void) | undefined;
  socket.on('message', (data: Buffer) => {
    said.push(Said.parse(JSON.parse(data.toString('utf8'))));
    wake?.();
  });
  const next = async (): Promise<Said> => {
    if (said.length === 0) await new Promise<void>((resolve) => (wake = resolve));
    const first = said.shift();
    if (first === undefined) throw new Error('nothing said');
    return first;
  };
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  await new Promise<void>((resolve, reject) => socket.once('open', resolve).once('error', reject));
  const { challenge = '' } = await next();
  const introduce = (introduction: object): Promise<Said> => {
    socket.send(JSON.stringify(introduction));
    return next();
  };
  return { socket, challenge, introduce, closed };
}

const token = (address: string): string => new URL(address).hash.slice('#t='.length);

describe('a session', () => {
  it('begins with the token of an address, speaks the wire, and is proved the next time', async () => {
    const first = await page();
    const session = await first.introduce({ t: 'token', token: token(serving.address()) });
    expect(session.t).toBe('session');
    first.socket.removeAllListeners('message');
    const channel = webSocketChannel(first.socket);
    const connection = await connect(channel, { role: 'browser', deadlineMs: 1000 });
    await expect(connection.client.check.run({})).resolves.toEqual({ results: [] });
    await expect(connection.client.core.quit({})).rejects.toMatchObject({ code: 'NOT_ALLOWED' });
    connection.close();
    const again = await page();
    const proof = proofOf(session.key ?? '', again.challenge);
    expect(await again.introduce({ t: 'proof', session: session.id, proof })).toEqual({ t: 'welcome' });
    again.socket.close();
    // A proof for another challenge is worth nothing.
    const replay = await page();
    expect(await replay.introduce({ t: 'proof', session: session.id, proof })).toMatchObject({ t: 'denied' });
    await replay.closed;
  });

  it('ends for both when its token is used twice', async () => {
    const shared = token(serving.address());
    const first = await page();
    const session = await first.introduce({ t: 'token', token: shared });
    const second = await page();
    expect(await second.introduce({ t: 'token', token: shared })).toMatchObject({
      t: 'denied',
      error: { code: 'SESSION_INVALID' },
    });
    await first.closed;
    const third = await page();
    const proof = proofOf(session.key ?? '', third.challenge);
    expect((await third.introduce({ t: 'proof', session: session.id, proof })).t).toBe('denied');
  });

  it('is refused to other origins, and to pages that say something else', async () => {
    await expect(page({ origin: 'http://evil.example' })).rejects.toThrow('403');
    await expect(page({ host: `127.0.0.1:${port()}` })).rejects.toThrow('403');
    for (const introduction of [
      { t: 'hello' },
      { t: 'token', token: 'x'.repeat(43) },
      { t: 'token', token: 1 },
    ]) {
      const stranger = await page();
      expect((await stranger.introduce(introduction)).t).toBe('denied');
      await stranger.closed;
    }
  });

  it('tells an admitted page why it cannot be joined to the core', async () => {
    const broken = await serve({
      at: { port: 0 },
      page: dir,
      attach: async () => {
        // After the page has put on its ears.
        await new Promise((resolve) => setTimeout(resolve, 50));
        throw new TapyardError('RUNTIME_DIR_UNSAFE', 'not yours');
      },
    });
    const own = serving;
    serving = broken;
    const opened = await page();
    await opened.introduce({ t: 'token', token: token(broken.address()) });
    opened.socket.removeAllListeners('message');
    const connection = connect(webSocketChannel(opened.socket), { role: 'browser', deadlineMs: 1000 });
    await expect(connection).rejects.toMatchObject({ code: 'RUNTIME_DIR_UNSAFE' });
    await broken.close();
    serving = own;
  });

  it('cannot begin with a token that is older than 60 s', () => {
    let now = 0;
    const sessions = new Sessions(() => now);
    const late = sessions.issue();
    now = tokenLifetime + 1;
    expect(() => sessions.admit({ t: 'token', token: late }, '')).toThrow('60 s');
  });
});

describe('the peer’s uid', () => {
  it('is read from the kernel’s tables, of established connections only', () => {
    const line = (local: string, remote: string, state: string, uid: number): string =>
      `   0: ${local} ${remote} ${state} 00000000:00000000 00:00000000 00000000  ${uid}        0 1 1 0`;
    const table = [
      '  sl  local_address rem_address   st',
      line('0100007F:1F90', '0100007F:C001', '01', 1),
      line('0100007F:C001', '0100007F:1F90', '06', 0),
      line('0100007F:C001', '0100007F:1F90', '01', 1000),
      line('0000000000000000FFFF00000100007F:C002', '0000000000000000FFFF00000100007F:1F90', '01', 1001),
    ].join('\n');
    const own = { address: '127.0.0.1', port: 0x1f90 };
    expect(ownerOf(table, { address: '127.0.0.1', port: 0xc001 }, own)).toBe(1000);
    expect(ownerOf(table, { address: '127.0.0.1', port: 0xc002 }, own)).toBe(1001);
    expect(ownerOf(table, { address: '127.0.0.1', port: 0xc003 }, own)).toBeUndefined();
    expect(peerUid({ address: '127.0.0.1', port: 1 }, own)).toBeUndefined();
  });
});
