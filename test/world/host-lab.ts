// SPDX-License-Identifier: Apache-2.0
import type { ChildProcess } from 'node:child_process';
import { NetdClient } from '../../electron/core/net/netd-client.ts';
import type { NetdNetwork, NetdNetworkSpec } from '../../electron/core/net/netd-protocol.ts';
import {
  type Finished,
  firstWords,
  hostAddress,
  netdInside,
  until,
  wanAddress,
  type Who,
  type World,
} from './world.ts';

/** Runs a command as root on the world's host; a world with other firewalls has a way of its own. */
export type OnHost = (command: readonly string[]) => string[];

/** The same with a kernel that seems to have no force_forwarding, as Linux before 6.17. */
export const onOlderHost: OnHost = (command) => {
  const force = '/proc/sys/net/ipv6/conf/default/force_forwarding';
  return ['sh', '-ec', `[ ! -e ${force} ] || mount --bind /dev/null ${force}; exec "$@"`, 'sh', ...command];
};

/** The network of the tutorial. */
export const br0 = {
  name: 'br0',
  subnet: '192.168.57.0/24',
  address: '192.168.57.1',
  mac: '52:54:00:00:00:01',
  mtu: 1500,
  nat: true,
  dhcp: { from: '192.168.57.128', to: '192.168.57.254', reservations: [] },
  domain: 'lab' as const,
};

/** Whose netd is: root's; a user's, whose it became with three capabilities; a user's with file capabilities. */
export type NetdOf = Who | 'capable';

interface Netd {
  readonly process: ChildProcess;
  readonly client: NetdClient;
}

/**
 * A netd in the host scope of a world, and guests that are network namespaces on ports of its bridge: to the
 * host's firewalls they are what real guests are, and they are there at once.
 */
export class HostLab {
  readonly #world: World;
  readonly #onHost: OnHost;
  readonly #launch: () => Promise<Netd>;
  #netd: Netd;

  private constructor(world: World, onHost: OnHost, launch: () => Promise<Netd>, running: Netd) {
    this.#world = world;
    this.#onHost = onHost;
    this.#launch = launch;
    this.#netd = running;
  }

  get client(): NetdClient {
    return this.#netd.client;
  }

  static async start(
    world: World,
    onHost: OnHost = (command) => [...command],
    as: NetdOf = 'root',
  ): Promise<HostLab> {
    const launch = (): Promise<Netd> => HostLab.#start(world, onHost, as);
    return new HostLab(world, onHost, launch, await launch());
  }

  /** Kills netd (SIGKILL) and starts another on the same directory, after what is to happen `meanwhile`. */
  async restart(meanwhile?: () => Promise<unknown>): Promise<void> {
    const { process: child } = this.#netd;
    const gone = new Promise((resolve) => child.once('close', resolve));
    child.kill('SIGKILL');
    await gone;
    await meanwhile?.();
    this.#netd = await this.#launch();
  }

  static async #start(world: World, onHost: OnHost, as: NetdOf): Promise<Netd> {
    const dir = `${world.runtimeDir(as === 'root' ? 'root' : 'user')}/netd`;
    const installed = '/run/tapyard-netd';
    const users = `install -m 755 ${netdInside} ${installed}; chown ${world.uid} ${dir}`;
    const programs: Record<NetdOf, string> = {
      root: `exec ${netdInside}`,
      user: `${users}; exec env SUDO_UID=${world.uid} ${installed}`,
      capable: `${users}; setcap cap_net_admin,cap_net_raw,cap_net_bind_service+ep ${installed}
        exec setpriv --reuid ${world.uid} --regid ${world.uid} --clear-groups ${installed}`,
    };
    const script = `set -e; mkdir -p -m 700 ${dir}
      ${programs[as]} --scope host --dir ${dir}`;
    const child = world.start(onHost(['sh', '-c', script]), { as: 'root' });
    await firstWords(child, 'netd');
    return { process: child, client: await NetdClient.connect(`${dir}/netd.sock`) };
  }

  /** Makes br0 and answers what netd says of it. */
  async up(more: Partial<NetdNetworkSpec> = {}): Promise<NetdNetwork> {
    const network = { ...br0, ...more };
    return (await this.client.request('apply_network', { lab: 'seed', network })).network;
  }

  async down(network = 'br0'): Promise<void> {
    const { failed } = await this.client.request('remove_network', { lab: 'seed', network });
    if (failed.length > 0) throw new Error(JSON.stringify(failed));
  }

  /** br0 as it is now. */
  async network(): Promise<NetdNetwork | undefined> {
    const { networks } = await this.client.request('observe', {});
    return networks.find(({ name }) => name === 'br0');
  }

  /** The doors that br0 took in others' chains, as FIREWALL: CHAIN. Throws where one is not open. */
  async openDoors(): Promise<string[]> {
    const doors = (await this.network())?.doors ?? [];
    const shut = doors.filter(({ state }) => state !== 'open');
    if (shut.length > 0) throw new Error(`not open: ${JSON.stringify(shut)}`);
    return doors.map(({ chain, firewall }) => `${firewall}: ${chain}`).sort();
  }

  /** Lets the LAN in: port 8000 of the host (which is no privileged one) leads to port 8080 of this guest. */
  async letIn(to: string): Promise<void> {
    const exposure = { address: hostAddress, protocol: 'tcp', port: 8000, to, to_port: 8080 } as const;
    await this.client.request('expose', { lab: 'seed', exposure });
  }

  /** Waits until a neighbour on the LAN reaches the guest that it is let in to, which sees who asks. */
  async isReached(): Promise<void> {
    await until('the guest is reached from the LAN', 30_000, async () => {
      const script = `timeout 3 nc -w 2 ${hostAddress} 8000 </dev/null | head -n 1`;
      const { stdout } = await this.#world.run(['sh', '-c', script], { as: 'root', in: 'wan1' });
      return stdout === `you are ${wanAddress}\n`;
    });
  }

  /** A guest with this address on br0, or on another bridge. */
  async guest(address: string, bridge?: string): Promise<PortGuest> {
    return PortGuest.start(this.#world, address, (command) => [...command], bridge);
  }

  /** Gives the host an IPv6 default route, by wan1. */
  hasIpv6(): Promise<string> {
    return this.host(`ip addr replace 2001:db8::2/64 dev eth0 nodad
      ip -6 route replace default via 2001:db8::1 dev eth0`);
  }

  /** Runs a script on the host and throws when it fails. */
  host(script: string): Promise<string> {
    return this.#world.must(this.#onHost(['sh', '-ec', script]), { as: 'root' });
  }
}

/** A network namespace that plays a guest. */
export class PortGuest {
  readonly #world: World;
  readonly #pid: number;
  readonly #address: string;
  readonly #onHost: OnHost;
  readonly #bridge: string;

  private constructor(world: World, pid: number, address: string, onHost: OnHost, bridge: string) {
    this.#world = world;
    this.#pid = pid;
    this.#address = address;
    this.#onHost = onHost;
    this.#bridge = bridge;
  }

  get #gateway(): string {
    return this.#address.replace(/[0-9]+$/, '1');
  }

  /** With this address, on the bridge that `onHost` leads to, which is .1 of the same /24. */
  static async start(world: World, address: string, onHost: OnHost, bridge = 'br0'): Promise<PortGuest> {
    const sleeper = world.start(['unshare', '-n', 'sh', '-c', 'echo $$; exec sleep 600'], { as: 'root' });
    const pid = Number(await firstWords(sleeper, 'the guest'));
    const guest = new PortGuest(world, pid, address, onHost, bridge);
    await guest.plug();
    return guest;
  }

  /** Puts its cable into the bridge, anew where that is another one. */
  async plug(): Promise<void> {
    const port = `port${this.#address.split('.')[3] ?? ''}`;
    await this.#world.must(
      this.#onHost([
        'sh',
        '-ec',
        `ip link del ${port} 2>/dev/null || :
         ip link add ${port} type veth peer name eth0 netns ${this.#pid}
         ip link set ${port} master ${this.#bridge} up
         nsenter -t ${this.#pid} -n sh -ec 'ip link set lo up; ip link set eth0 up
           ip addr add ${this.#address}/24 dev eth0; ip route add default via ${this.#gateway}'`,
      ]),
      { as: 'root' },
    );
  }

  /** Serves TCP and UDP on a port: each client is told the address that it comes from. */
  async serve(port: number): Promise<void> {
    const server = `const told = (address) => 'you are ' + address + '\\n';
      const udp = require('node:dgram').createSocket('udp4');
      udp.on('message', (_, from) => udp.send(told(from.address), from.port, from.address)).bind(${port}, () =>
        require('node:net').createServer((s) => s.on('error', () => {}).write(told(s.remoteAddress)))
          .listen(${port}, '0.0.0.0', () => console.log('ready')));`;
    await firstWords(this.spawn([process.execPath, '-e', server]), 'the guest’s server');
  }

  /** Starts a program there that goes on. */
  spawn(command: readonly string[]): ChildProcess {
    return this.#world.start(['nsenter', '-t', String(this.#pid), '-n', ...command], { as: 'root' });
  }

  run(script: string): Promise<Finished> {
    return this.#world.run(['nsenter', '-t', String(this.#pid), '-n', 'sh', '-c', script], { as: 'root' });
  }

  /** Which ways to wan1 are open: never ping alone, for ufw lets ping through. */
  async reaches(wan = wanAddress): Promise<{ tcp: boolean; udp: boolean; ping: boolean }> {
    const [tcp, udp, ping] = await Promise.all([
      this.run(`printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 2 nc -w 2 ${wan} 80`),
      this.run(`echo hello | timeout 2 nc -u -W 1 ${wan} 7778`),
      this.run(`busybox ping -c 1 -W 2 ${wan}`),
    ]);
    return {
      tcp: tcp.stdout.includes('hello from wan1'),
      udp: udp.stdout.includes('hello'),
      ping: ping.code === 0,
    };
  }

  /** Whether DHCP and DNS at the gateway answer. */
  async served(): Promise<{ dhcp: boolean; dns: boolean }> {
    const [dhcp, dns] = await Promise.all([
      this.run('busybox udhcpc -i eth0 -n -q -f -t 3 -T 1 -s /bin/true'),
      this.run(`busybox timeout 3 busybox nslookup -type=a wan.test ${this.#gateway}`),
    ]);
    return {
      dhcp: /lease of 192\.168\.\d+\.\d+ obtained/.test(dhcp.stderr + dhcp.stdout),
      dns: dns.stdout.includes(wanAddress),
    };
  }

  /** Waits until everything gets through. How soon is measured (test/bench/mending.ts), not asserted on a busy machine. */
  async getsThrough(within = 30_000): Promise<void> {
    let last: unknown;
    await until(`the guest gets through`, within, async () => {
      const [out, host] = await Promise.all([this.reaches(), this.served()]);
      last = { ...out, ...host };
      return Object.values({ ...out, ...host }).every(Boolean);
    }).catch((error: unknown) => {
      throw new Error(`${String(error)}: ${JSON.stringify(last)}`);
    });
  }

  /**
   * Waits until the host (`gateway`, of fd12:3456:789a:1::/64) is pinged and tells names, and wan1 is reached by
   * TCP, UDP and ping, all by IPv6.
   */
  async getsThroughByIpv6(gateway = 'fd12:3456:789a:1::1'): Promise<void> {
    await this.run(`ip addr replace fd12:3456:789a:1::50/64 dev eth0 nodad
      ip -6 route replace default via ${gateway}`);
    // Neighbour discovery with the host, what is forwarded, and names.
    await until(
      `${gateway} is pinged`,
      30_000,
      async () => (await this.run(`busybox ping -6 -c 1 -W 2 ${gateway}`)).code === 0,
    );
    let last: unknown;
    await until('wan1 is reached by IPv6', 30_000, async () => {
      const out = await this.reaches('2001:db8::1');
      last = out;
      return Object.values(out).every(Boolean);
    }).catch((error: unknown) => {
      throw new Error(`${String(error)}: ${JSON.stringify(last)}`);
    });
    await until('names are told by IPv6', 30_000, async () => {
      const named = await this.run(`busybox timeout 3 busybox nslookup -type=a wan.test ${gateway}`);
      return named.stdout.includes(wanAddress);
    });
  }
}
