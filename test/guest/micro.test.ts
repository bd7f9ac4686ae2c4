// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';

const checkout = resolve(import.meta.dirname, '../..');
const micro = join(checkout, 'dist/micro');
const { append } = z
  .object({ append: z.string() })
  .parse(JSON.parse(readFileSync(join(micro, 'micro.json'), 'utf8')));
const key = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJtapyardtapyardtapyardtapyardtapyardtapy lab';

let directory: string;
let guest: ChildProcess | undefined;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'tapyard-micro-'));
  writeFileSync(join(directory, 'keys'), `${key}\n`);
});
afterEach(() => {
  guest?.kill('SIGKILL');
});
afterAll(() => rmSync(directory, { recursive: true }));

/** Connects as soon as QEMU listens; fails after ten seconds. */
async function dial(path: string): Promise<Socket> {
  for (const until = Date.now() + 10_000; ;) {
    const socket = connect(path);
    const connected = await new Promise<boolean>((done) => {
      socket.once('connect', () => done(true)).once('error', () => done(false));
    });
    if (connected) return socket;
    if (Date.now() > until) throw new Error(`nobody listens on ${path}`);
    await new Promise((done) => setTimeout(done, 5));
  }
}

/** Waits for a pattern in what the guest writes from now on. */
function expectOn(socket: Socket, pattern: RegExp, ms: number): Promise<string> {
  return new Promise((done, fail) => {
    let text = '';
    const timer = setTimeout(() => finish(new Error(`no ${pattern} within ${ms} ms in:\n${text}`)), ms);
    const onData = (chunk: Buffer): void => {
      text += chunk.toString();
      if (pattern.test(text)) finish();
    };
    const finish = (error?: Error): void => {
      clearTimeout(timer);
      socket.off('data', onData);
      if (error) fail(error);
      else done(text);
    };
    socket.on('data', onData);
  });
}

/** Boots the guest as assets/micro/README.md says; resolves at the prompt. */
async function boot(): Promise<{ serial: Socket; qmp: Socket; seconds: number; cpu: number }> {
  // Its own sockets: those of a QEMU that is just being killed still take callers.
  const own = mkdtempSync(join(directory, 'guest-'));
  const path = (name: string): string => join(own, name);
  const began = performance.now();
  guest = spawn(
    'qemu-system-x86_64',
    [
      ['-nodefaults', '-machine', 'q35', '-accel', 'tcg', '-cpu', 'max', '-m', '256', '-no-reboot'],
      ['-kernel', join(micro, 'vmlinuz'), '-initrd', join(micro, 'initramfs.img')],
      ['-append', `${append} tapyard.name=toy`],
      ['-fw_cfg', `name=opt/tapyard/authorized_keys,file=${join(directory, 'keys')}`],
      ['-device', 'virtio-rng-pci'],
      ['-vga', 'std', '-vnc', `unix:${path('vnc')}`],
      ['-serial', `unix:${path('serial')},server=on,wait=off`],
      ['-qmp', `unix:${path('qmp')},server=on,wait=off`],
      ['-netdev', 'user,id=nic0,restrict=on', '-device', 'virtio-net-pci,netdev=nic0'],
    ].flat(),
    { stdio: 'inherit' },
  );
  const serial = await dial(path('serial'));
  await expectOn(serial, /root@toy:~# /, 20_000);
  const seconds = (performance.now() - began) / 1000;
  const cpu = cpuSeconds(guest.pid);
  return { serial, qmp: await dial(path('qmp')), seconds, cpu };
}

/** What a process has had of the CPUs, in all its threads, by proc_pid_stat(5): fields 14 and 15, in 1/100 s. */
function cpuSeconds(pid: number | undefined): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const [user, system] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13);
  return (Number(user) + Number(system)) / 100;
}

/** Types a command and waits for its end. */
function type(serial: Socket, command: string): Promise<string> {
  serial.write(`${command}; echo E''ND\n`);
  return expectOn(serial, /END\r\n/, 10_000);
}

/** Resolves once QEMU has ended by itself. */
function ended(ms: number): Promise<number | null> {
  return new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new Error(`QEMU still ran after ${ms} ms`)), ms);
    guest?.once('exit', (code) => {
      clearTimeout(timer);
      done(code);
    });
  });
}

test('the serial prompt comes within 4 s of a CPU after QEMU’s start under emulation', async () => {
  // By the clock it is much the same on a machine that does nothing else, which no test can know of its own.
  const { seconds, cpu } = await boot();
  guest?.kill('SIGKILL');
  console.log(`serial prompt after ${seconds.toFixed(1)} s, ${cpu.toFixed(1)} s of CPU`);
  expect(cpu).toBeGreaterThan(0);
  expect(cpu).toBeLessThan(4);
});

test('it has its name, its lease, its key, its page, and ends by its power button', async () => {
  const { serial, qmp } = await boot();
  await expect
    .poll(() => type(serial, 'ip -4 addr show dev eth0'), { timeout: 10_000 })
    .toContain('10.0.2.15/24');
  // What the shell does not need starts beside it, so it may come a moment later.
  const soon = (command: string): ReturnType<typeof expect.poll> =>
    expect.poll(() => type(serial, command), { timeout: 10_000 });
  await soon('hostname; cat /root/.ssh/authorized_keys').toMatch(new RegExp(`toy\r\n${key}`));
  await soon('wget -q -O - http://127.0.0.1/').toContain('<h1>toy</h1>');
  await soon('ps').toMatch(/ dropbear/);
  // Both shells, the one on the screen too.
  await soon('ps').toMatch(/ sh -l[^]* sh -l/);
  await soon('pidof acpid').toMatch(/\d/);

  const off = ended(3000);
  qmp.write('{"execute":"qmp_capabilities"}{"execute":"system_powerdown"}');
  expect(await off).toBe(0);
});

test('the same inputs give the same bytes', () => {
  const again = join(directory, 'again');
  execFileSync(process.execPath, [
    join(checkout, 'assets/micro/build.mjs'),
    '--out',
    again,
    '--cache',
    join(checkout, '.cache/micro'),
  ]);
  for (const name of ['vmlinuz', 'initramfs.img', 'micro.json']) {
    expect(readFileSync(join(again, name)).equals(readFileSync(join(micro, name))), name).toBe(true);
  }
});
