// SPDX-License-Identifier: Apache-2.0
import type { ChildProcess } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from '../../electron/contract/zod.ts';
import { GuestShell } from '../world/guest-shell.ts';
import { kernelState } from '../world/kernel.ts';
import { listGuests } from '../world/listed.ts';
import {
  checkout,
  ended,
  finish,
  firstWords,
  hostAddress,
  until,
  wanAddress,
  type Who,
  World,
  type WorldOptions,
} from '../world/world.ts';
import { Sniffer } from './sniffer.ts';

const seed = readFileSync(path.join(checkout, 'assets/labs/seed.yaml'), 'utf8');

const Links = z.array(
  z.looseObject({
    ifname: z.string(),
    master: z.string().optional(),
    operstate: z.string(),
    linkinfo: z.looseObject({ info_kind: z.string().optional() }).optional(),
  }),
);

/** An address of the host's own, from which the lab sends nothing. */
const privateSource = '172.31.255.1';

/** What is in the place where root's Tapyard goes without a runtime directory; undefined when it is not there. */
function inFallback(): string[] | undefined {
  const place = '/tmp/tapyard-0';
  return existsSync(place) ? readdirSync(place, { encoding: 'utf8', recursive: true }).sort() : undefined;
}

/** The main job on the tutorial's lab, in one scope; the same promises in both. */
export function mainJob(scope: 'private' | 'host', options: WorldOptions = {}): void {
  const who: Who = scope === 'host' ? 'root' : 'user';
  let world: World;
  let shell: GuestShell;
  let file: string;
  let before: Awaited<ReturnType<typeof kernelState>>;
  let fallbackBefore: string[] | undefined;
  let monitor: ChildProcess;
  /** What the kernel told of forwarding in host1, all the while (ip-monitor(8)). */
  let forwardings = '';

  const nat = async (to: 'on' | 'off'): Promise<void> => {
    const done = await world.tapyard(['nat', 'br0', to], { as: who });
    expect(done, `nat br0 ${to}`).toMatchObject({ code: 0 });
  };
  const reachesWeb = async (): Promise<boolean> =>
    (await shell.run(`timeout 3 wget -q -O - http://${wanAddress}/`)).output.includes('hello from wan1');

  beforeAll(async () => {
    world = World.create(options);
    await world.serveWan();
    file = world.file('tapyard.yaml', seed, who);
    before = await kernelState(world);
    fallbackBefore = inFallback();
    monitor = world.start(['ip', '-o', 'monitor', 'netconf'], { as: 'root' });
    monitor.stdout?.setEncoding('utf8').on('data', (text: string) => (forwardings += text));
    // It says nothing of its own when it listens: lo, whose forwarding nothing depends on, is switched until it tells.
    await until('the monitor listens', 20_000, async () => {
      const lo = '/proc/sys/net/ipv4/conf/lo/forwarding';
      await world.must(['sh', '-c', `echo 1 >${lo}; echo 0 >${lo}`], { as: 'root' });
      return forwardings.includes('inet lo forwarding on');
    });
    const up = await world.tapyard(['up', file, '--scope', scope], { as: who, timeout: 90_000 });
    expect(up, `${up.stdout}\n${up.stderr}`).toMatchObject({ code: 0 });
    shell = await GuestShell.open(world, 'guest', who);
  });
  afterAll(async () => {
    await shell?.close();
    world?.close();
  });

  test('the guest runs, and ls says all that a script needs', async () => {
    const [guest, ...others] = await listGuests(world, who);
    expect(others).toEqual([]);
    expect(guest).toMatchObject({ name: 'guest', state: 'running', accelerator: 'tcg' });
    expect(guest?.nics).toMatchObject([{ network: 'br0', tap: 'tap0', address: '192.168.57.2' }]);
    expect(guest?.nics[0]?.mac).toMatch(/^52:54:00(:[0-9a-f]{2}){3}$/);
    expect(readFileSync(`/proc/${guest?.pid}/cmdline`, 'utf8')).toContain('qemu-system-x86_64');
    const { serial = '', vnc = '', qmp = '' } = guest?.sockets ?? {};
    for (const [kind, place] of [
      ['-S', vnc],
      ['-S', qmp],
      ['-p', serial],
      ['-f', guest?.serialRecord ?? ''],
    ] as const) {
      expect(await world.run(['test', kind, place], { as: who }), place).toMatchObject({ code: 0 });
    }
    // A script types beside the console that is open, and reads the answer in the record.
    await world.must(['sh', '-c', `echo 'echo script-$((6*7))' >${serial}`], { as: who });
    await shell.waitFor(/script-42/, 10_000);
    expect(await world.must(['cat', guest?.serialRecord ?? ''], { as: who })).toContain('script-42');
  });

  test('it has its address by DHCP and reaches the internet by ping, TCP, UDP and name', async () => {
    expect((await shell.run('ip -4 addr show dev eth0')).output).toContain('inet 192.168.57.2/24');
    expect(await shell.pings(wanAddress)).toBe(true);
    expect(await reachesWeb()).toBe(true);
    expect((await shell.run(`timeout 3 wget -q -O - http://internet.example/`)).output).toContain(
      'hello from wan1',
    );
    expect((await shell.run(`(echo over udp; sleep 1) | nc -u -w 2 ${wanAddress} 7778`)).output).toContain(
      'over udp',
    );
  });

  test('its web page has its name', async () => {
    expect((await shell.run('wget -q -O - http://127.0.0.1/')).output).toContain('guest');
  });

  test('NAT off stops what runs and what is new, and leaks nothing; on lets all of it go on', async () => {
    const sniffer = world.start(
      [
        'tcpdump',
        '-l',
        '-n',
        '-i',
        'eth0',
        'src net 10.0.0.0/8 or src net 172.16.0.0/12 or src net 192.168.0.0/16 or src net 169.254.0.0/16',
      ],
      { as: 'root', in: 'wan1' },
    );
    let leaked = '';
    sniffer.stdout?.setEncoding('utf8').on('data', (chunk: string) => (leaked += chunk));
    await until(
      'tcpdump listens',
      10_000,
      () => new Promise<boolean>((resolve) => sniffer.stderr?.once('data', () => resolve(true))),
    );

    // A TCP stream and a ping that run all the while, each leaving a line a tick in the guest.
    await shell.run(
      `(nc -d ${wanAddress} 7777 > /tmp/stream) & (ping -i 0.2 ${wanAddress} > /tmp/pings 2>&1) & true`,
    );
    const lines = async (name: string): Promise<number> =>
      Number(/(\d+)\s*$/.exec((await shell.run(`wc -l < /tmp/${name}`)).output)?.[1]);
    await until(
      'the stream and the ping run',
      10_000,
      async () => (await lines('stream')) > 5 && (await lines('pings')) > 3,
    );

    await nat('off');
    const stopped = { stream: await lines('stream'), pings: await lines('pings') };
    expect(await shell.pings('192.168.57.1')).toBe(true);
    expect(await shell.pings(wanAddress)).toBe(false);
    expect(await reachesWeb()).toBe(false);
    expect({ stream: await lines('stream'), pings: await lines('pings') }).toEqual(stopped);

    await nat('on');
    const on = Date.now();
    await until('the ping goes on', 1000, async () => (await lines('pings')) > stopped.pings);
    expect(Date.now() - on).toBeLessThan(1000 + 300); // the last look may begin at the deadline
    expect(await shell.pings(wanAddress)).toBe(true);
    await until('the stream goes on', 4000, async () => (await lines('stream')) > stopped.stream);
    expect(await reachesWeb()).toBe(true);
    await shell.run('kill %1 %2 2>/dev/null; killall ping nc 2>/dev/null; true');

    // What is sent from a private source, but not by the lab, shows that one would have been seen all the while.
    await world.must(['ip', 'addr', 'add', `${privateSource}/32`, 'dev', 'lo'], { as: 'root' });
    await until('a private source is seen', 30_000, async () => {
      await world.run(['busybox', 'ping', '-c1', '-W1', '-I', privateSource, wanAddress], { as: 'root' });
      return leaked.includes(privateSource);
    });
    await world.must(['ip', 'addr', 'del', `${privateSource}/32`, 'dev', 'lo'], { as: 'root' });
    expect(
      leaked
        .trim()
        .split('\n')
        .filter((line) => !line.includes(privateSource)),
    ).toEqual([]);
    sniffer.kill('SIGTERM');
  });

  test('streams, both ways, outlive cuts, short ones and one of seconds, in which nothing of the guest leaves', async () => {
    // A stopped pasta's sockets are acknowledged for by the host's kernel, without a byte of the guest's.
    const stream =
      scope === 'host'
        ? 'tcp'
        : 'tcp and (tcp[13] & 7 != 0 or ip[2:2] - ((ip[0] & 15) << 2) - ((tcp[12] & 240) >> 2) != 0)';
    const sniffer = await Sniffer.start(
      world,
      `src net 192.168.0.0/16 or (src host ${hostAddress} and (icmp[icmptype] == icmp-echo or udp or (${stream})))`,
    );
    const sink = world.start(
      ['sh', '-c', 'nc -l -p 7780 -s 203.0.113.1 2>/dev/null || nc -l 203.0.113.1 7780'],
      { as: 'root', in: 'wan1' },
    );
    await until('the sink listens', 20_000, async () => {
      const listening = ['ss', '-Htln', 'sport = :7780'];
      return (await world.must(listening, { as: 'root', in: 'wan1' })).trim() !== '';
    });
    let sent = 0;
    sink.stdout?.on('data', (chunk: Buffer) => (sent += chunk.length));
    // A line each 5 ms: whenever the cut comes, something of the stream is under way.
    await shell.run(
      `(while true; do echo tick; usleep 5000; done | nc ${wanAddress} 7780 > /dev/null 2>&1) & (nc -d ${wanAddress} 7777 > /tmp/incoming) & true`,
    );
    await shell.run(
      `(ping -i 0.2 ${wanAddress} > /dev/null 2>&1) & (while true; do echo tick; usleep 20000; done | nc -u ${wanAddress} 7778 > /dev/null 2>&1) & true`,
    );
    const kinds = [/ ICMP echo request/, / UDP,/, / Flags \[/];
    /** Each kind of packet has come since then. */
    const allLeave = (since: number): Promise<boolean> =>
      until('TCP, UDP and ping leave', 30_000, () => {
        const lines = sniffer.between(since, Infinity);
        return kinds.every((kind) => lines.some((line) => kind.test(line)));
      });
    await allLeave(0);
    const incoming = async (): Promise<number> =>
      Number(/(\d+)\s*$/.exec((await shell.run('wc -l < /tmp/incoming')).output)?.[1]);
    await until('both run', 10_000, async () => sent > 50 && (await incoming()) > 5);
    for (const cut of [200, 300, 400, 6500]) {
      await nat('off');
      const off = Date.now();
      const stopped = { out: sent, in: await incoming() };
      await new Promise((resolve) => setTimeout(resolve, cut));
      expect({ out: sent, in: await incoming() }, `while NAT was off for ${cut} ms`).toEqual(stopped);
      const on = Date.now();
      await nat('on');
      // By TCP's own clock, each wait twice the last, the next try would come as long after a cut as it lasted.
      await until(`the stream goes on after ${cut} ms`, 4000, () => sent > stopped.out);
      await until(`that into the guest goes on after ${cut} ms`, 4000, async () => {
        return (await incoming()) > stopped.in;
      });
      await allLeave(on);
      expect(sniffer.between(off, on), `left while NAT was off for ${cut} ms`).toEqual([]);
    }
    sniffer.close();
    await shell.run('killall nc ping usleep 2>/dev/null; true');
    sink.kill('SIGKILL');
  });

  if (scope === 'private') {
    test('the host itself stays out of reach but for what it shows to its neighbours', async () => {
      const listener = (address: string): ReturnType<World['start']> =>
        world.start(
          [
            process.execPath,
            '-e',
            `require("net").createServer((s) => s.end("reached\\n")).listen(8099, "${address}", () => console.log("ready"))`,
          ],
          { as: 'root' },
        );
      const loopback = listener('127.0.0.1');
      await firstWords(loopback, 'the listener');
      const addresses = [
        '127.0.0.1',
        '192.168.57.1',
        '169.254.2.1',
        '169.254.2.2',
        hostAddress,
        '10.0.2.2',
        '10.0.2.3',
      ];
      const { output } = await shell.run(
        `(for at in ${addresses.join(' ')}; do (answer=$(nc -w 2 $at 8099 < /dev/null 2>&1); echo "from $at: $answer") & done; wait)`,
      );
      for (const address of addresses)
        expect(output, `127.0.0.1:8099 of the host through ${address}`).toContain(`from ${address}: `);
      expect(output, 'what the host has on its loopback').not.toContain('reached');
      loopback.kill('SIGKILL');
      const lan = listener(hostAddress);
      await firstWords(lan, 'the listener');
      expect((await shell.run(`nc -w 2 ${hostAddress} 8099 < /dev/null`)).output).toContain('reached');
      lan.kill('SIGKILL');
    });

    test('nothing changed on the host', async () => {
      expect(await kernelState(world)).toEqual(before);
    });
  } else {
    test('bridge and tap are on the host, which reaches the guest', async () => {
      const links = Links.parse(JSON.parse(await world.must(['ip', '-j', '-d', 'link'], { as: 'root' })));
      expect(links.find((link) => link.ifname === 'br0')).toMatchObject({
        linkinfo: { info_kind: 'bridge' },
        operstate: 'UP',
      });
      expect(links.find((link) => link.ifname === 'tap0')).toMatchObject({
        master: 'br0',
        linkinfo: { info_kind: 'tun' },
      });
      expect(
        await world.run(['busybox', 'ping', '-c1', '-W2', '192.168.57.2'], { as: 'root' }),
      ).toMatchObject({ code: 0 });
      expect(
        await world
          .must(['wget', '-q', '-O', '-', 'http://192.168.57.2/'], { as: 'root' })
          .catch(() =>
            world.must(['busybox', 'wget', '-q', '-O', '-', 'http://192.168.57.2/'], { as: 'root' }),
          ),
      ).toContain('guest');
    });

    test('ip_forward is as it was', async () => {
      expect((await world.must(['cat', '/proc/sys/net/ipv4/ip_forward'], { as: 'root' })).trim()).toBe('0');
    });
  }

  describe('down', () => {
    test('leaves nothing behind', async () => {
      await shell.close();
      const down = await world.tapyard(['down'], { as: who, timeout: 60_000 });
      expect(down, `${down.stdout}\n${down.stderr}`).toMatchObject({ code: 0 });
      await ended(monitor, 'the monitor');
      const wanServer = /wan\.mjs/;
      await until(
        'no process is left',
        3000,
        () => world.processes().filter(({ command }) => !wanServer.test(command)).length === 0,
      ).catch(() => {
        expect(world.processes().filter(({ command }) => !wanServer.test(command))).toEqual([]);
      });
      expect(await kernelState(world)).toEqual(before);
      // Only the directory itself and the core's lock may stay: both are empty and say nothing.
      expect(world.leftFiles(who).filter((left) => !/\/tapyard(\/core\.lock)?$/.test(left))).toEqual([]);
      if (scope === 'host') expect(inFallback()).toEqual(fallbackBefore);
    });

    // A write that was taken back would not be seen in the value.
    test('and up to there nobody wrote ip_forward', () => {
      expect(forwardings).not.toMatch(/^(Deleted )?inet (all|default) /m);
      if (scope === 'host') expect(forwardings).toMatch(/^inet br0 forwarding on/m);
    });

    test('says so when asked again', async () => {
      const again = await world.tapyard(['down'], { as: who });
      expect(again.code).toBe(0);
      expect(await finish(world.start(world.tapyardCommand(['ls']), { as: who }), 'ls')).toMatchObject({
        code: 0,
      });
    });
  });
}
