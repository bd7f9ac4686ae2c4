// SPDX-License-Identifier: Apache-2.0
import type { BootMedia } from '../image/inspect.ts';
import type { AcceleratorChoice } from './accelerator.ts';
import type { GuestSockets, PluggedNic } from './spec.ts';

/** Everything that QEMU's command line is made of. */
export interface QemuPlan {
  /** QEMU's absolute path. */
  readonly program: string;
  readonly lab: string;
  readonly name: string;
  readonly accelerator: AcceleratorChoice;
  /** Bytes; rounded up to whole MiB. */
  readonly memory: number;
  readonly cpus: number;
  readonly media: BootMedia;
  readonly nics: readonly PluggedNic[];
  readonly sockets: GuestSockets;
}

/** Ports for NICs that are plugged in later, up to the most of the lab file; each costs the guest about 10 ms at boot under TCG. */
const spareNics = 3;
const mostNics = 8;

const mebibyte = 1024 * 1024;

/**
 * A value inside a QEMU option list: a comma ends a value there unless it is doubled (qemu(1), "-drive"), so no
 * path or name can become another option.
 */
export function optionValue(text: string): string {
  return text.replaceAll(',', ',,');
}

function blockdev(node: string, file: string, format: 'qcow2' | 'raw', readOnly: boolean): string {
  // JSON knows no special characters in a path, and a named driver never guesses a format or a protocol.
  return JSON.stringify({
    driver: format,
    'node-name': node,
    'read-only': readOnly,
    // What the guest trims, and blocks of zeros that it writes, take no space in the overlay.
    ...(readOnly ? {} : { discard: 'unmap', 'detect-zeroes': 'unmap' }),
    file: { driver: 'file', filename: file, ...(readOnly ? {} : { discard: 'unmap' }) },
  });
}

function mediaArguments(plan: QemuPlan): string[] {
  const { media } = plan;
  if (media.kind === 'kernel') {
    return [
      ['-kernel', media.kernel, '-initrd', media.initramfs],
      ['-append', `${media.append} tapyard.name=${plan.name}`],
      ['-fw_cfg', `name=opt/tapyard/authorized_keys,file=${optionValue(media.authorizedKeys)}`],
    ].flat();
  }
  const disk = [
    ['-blockdev', blockdev('disk0', media.disk, 'qcow2', false)],
    ['-device', 'virtio-blk-pci,drive=disk0,bootindex=1'],
  ].flat();
  const cdrom =
    media.cdrom === undefined
      ? []
      : [
          ['-blockdev', blockdev('cdrom0', media.cdrom, 'raw', true)],
          ['-device', 'ide-cd,drive=cdrom0,bootindex=2'],
        ].flat();
  // A pointer that knows absolute positions, so that the one in the viewer and the one in the guest stay together.
  const pointer = ['-device', 'qemu-xhci', '-device', 'usb-tablet'];
  return [...disk, ...cdrom, ...pointer];
}

function nicArguments({ fd, vhostFd, index, mac }: PluggedNic): string[] {
  const vhost = vhostFd === undefined ? '' : `,vhost=on,vhostfd=${vhostFd}`;
  return [
    ['-netdev', `tap,id=net${index},fd=${fd}${vhost}`],
    // In a port, so that it can be unplugged. Without its option ROM: nothing boots from the network, and the firmware
    // is faster.
    ['-device', `virtio-net-pci,id=nic${index},bus=port${index},netdev=net${index},mac=${mac},romfile=`],
  ].flat();
}

/**
 * The command line of a guest, program first. Pure: equal plans give equal lines.
 *
 * - The guest's power-off ends QEMU (no `-no-shutdown`): nothing is held by a guest that is off, also while
 *   no core runs. The QMP event SHUTDOWN before the end tells it from a crash.
 * - A reboot stays inside QEMU; a panic that the guest reports (pvpanic) pauses it, so its screen can be read.
 * - The serial port is QEMU's standard input and output: a FIFO and the record (`launch`).
 * - No TCP port, no user configuration, no default device; `-sandbox` denies fork, setuid and scheduling calls.
 */
export function qemuArgv(plan: QemuPlan): string[] {
  const { accelerator, sockets } = plan;
  return [
    [plan.program, '-nodefaults', '-no-user-config'],
    ['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
    // The process's name is what `ps` and `top` show; the kernel keeps 15 bytes of it.
    [
      '-name',
      `guest=${optionValue(`${plan.lab}/${plan.name}`)},process=${optionValue(`ty:${plan.name}`.slice(0, 15))}`,
    ],
    ['-machine', 'q35', '-accel', accelerator.use, '-cpu', accelerator.cpu],
    ['-m', `${Math.ceil(plan.memory / mebibyte)}M`, '-smp', `cpus=${plan.cpus}`],
    ['-rtc', 'base=utc'],
    ['-action', 'panic=pause'],
    ['-msg', 'timestamp=on'],
    ['-chardev', `socket,id=qmp,path=${optionValue(sockets.qmp)},server=on,wait=off`],
    ['-mon', 'chardev=qmp,mode=control'],
    // A monitor serves one client at a time: this one is for tapyard-tap, which hands taps over.
    ['-chardev', `socket,id=plug,path=${optionValue(sockets.plug)},server=on,wait=off`],
    ['-mon', 'chardev=plug,mode=control'],
    ['-chardev', 'stdio,id=serial0', '-serial', 'chardev:serial0'],
    // Never `-k`: with it QEMU guesses scan codes from symbols instead of taking the viewer's own.
    ['-vga', 'std', '-vnc', `unix:${optionValue(sockets.vnc)},share=force-shared`],
    ['-object', 'rng-random,id=rng0,filename=/dev/urandom', '-device', 'virtio-rng-pci,rng=rng0'],
    ['-device', 'pvpanic-pci'],
    mediaArguments(plan),
    Array.from({ length: Math.min(plan.nics.length + spareNics, mostNics) }, (_, port) => [
      '-device',
      `pcie-root-port,id=port${port},chassis=${port + 1}`,
    ]).flat(),
    plan.nics.flatMap(nicArguments),
  ].flat();
}
