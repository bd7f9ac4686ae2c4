// SPDX-License-Identifier: Apache-2.0
/*
 * An equal NAT network up and down by libvirt, run by root inside a world over which libvirt.sh laid it: libvirtd
 * without systemd, and a netd beside it. Prints what it found as one line of JSON.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { byTurns } from './figures.ts';
import { endNetd, lab, startNetd, timeShell } from './netd-inside.ts';
import type { Rival } from './virsh-rival.ts';

const rounds = 10;
const startDeadline = 20_000;

const network = {
  name: 'br0',
  subnet: '192.168.57.0/24',
  address: '192.168.57.1',
  mac: '52:54:00:12:34:01',
  mtu: 1500,
  nat: true,
  dhcp: { from: '192.168.57.128', to: '192.168.57.254', reservations: [] },
  domain: 'lab',
} as const;
const xml = `<network>
  <name>rival</name>
  <bridge name='virbr7' stp='off' delay='0'/>
  <forward mode='nat'/>
  <ip address='192.168.58.1' netmask='255.255.255.0'>
    <dhcp><range start='192.168.58.128' end='192.168.58.254'/></dhcp>
  </ip>
</network>
`;
const virsh = 'virsh -q -c network:///system';

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  const late = setTimeout(() => child.kill('SIGKILL'), 5_000);
  await ended;
  clearTimeout(late);
}

const daemon = spawn('libvirtd', [], { stdio: 'ignore', cwd: '/' });
daemon.on('error', (error) => process.stderr.write(`libvirtd: ${error.message}\n`));
const netd = await startNetd('host');
try {
  const deadline = performance.now() + startDeadline;
  while (spawnSync('sh', ['-c', `${virsh} net-list`]).status !== 0) {
    if (performance.now() > deadline) throw new Error('libvirtd does not answer');
    await delay(100);
  }
  writeFileSync('/run/rival.xml', xml);
  await timeShell(`${virsh} net-define /run/rival.xml`);
  const timed = async (act: () => Promise<unknown>): Promise<number> => {
    const began = performance.now();
    await act();
    return performance.now() - began;
  };
  const samples = await byTurns(rounds, [
    () => timed(() => netd.client.request('apply_network', { lab, network })),
    () => timed(() => netd.client.request('remove_network', { lab, network: network.name })),
    () => timeShell(`${virsh} net-start rival`),
    () => timeShell(`${virsh} net-destroy rival`),
    () => timeShell(`${virsh} uri`),
  ]);
  const rival: Rival = {
    ours: { up: samples(0), down: samples(1) },
    theirs: { up: samples(2), down: samples(3) },
    virsh: samples(4),
  };
  process.stdout.write(`${JSON.stringify(rival)}\n`);
} finally {
  await endNetd(netd);
  await end(daemon);
}
process.exit(0);
