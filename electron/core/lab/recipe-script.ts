// SPDX-License-Identifier: Apache-2.0
import { isShape } from '../../contract/shape.ts';
import { ifbOf } from './recipe-shape.ts';
import type { RecipeInput, RecipeStep } from './recipe.ts';
import { giveBack } from './recipe-interface.ts';
import { noRouter6, pastaCommand, recipeDirectory, recipeOf, sendsIpv6 } from './recipe.ts';
import { proxyCommand } from './recipe-proxy.ts';
import { forwards, hasBridge, isOwn } from './resolve.ts';
import { shellComment } from './shell-quote.ts';

/**
 * The recipe as a script for sh: `sh recipe.sh` makes the network, `sh recipe.sh guests` the network and the
 * guests, `sh recipe.sh undo` takes the network away. What it makes is what netd makes, but for the taps:
 * a script cannot hold a file descriptor, so they are persistent and without carrier until QEMU opens them.
 */
export function recipeScript(input: RecipeInput): string {
  const steps = recipeOf(input);
  const of = (part: RecipeStep['part']): string[] =>
    steps.filter((step) => step.part === part).map((step) => `${shellComment(step.title)}\n${step.command}`);
  const inside = steps
    .filter((step) => step.part === 'inside' || step.part === 'plug')
    .map((step) => shellComment(`${step.title}${step.by === null ? '' : ` (${step.by})`}: ${step.command}`));
  return `${[
    '#!/bin/sh',
    shellComment(`The lab ${input.lab.name}, made by hand. Run it as root:`),
    '#   sh recipe.sh          makes the network',
    '#   sh recipe.sh guests   makes the network and starts the guests',
    '#   sh recipe.sh undo     takes the network away',
    ...(input.scope === 'private' ? ['#', namespaceComment(pastaCommand(sendsIpv6(input)))] : []),
    'set -eu',
    '',
    `undo() {\n${undo(input)}\n}`,
    '',
    'case "${1:-}" in',
    '  undo) undo; exit ;;',
    '  guests | "") ;;',
    '  *) echo "usage: sh recipe.sh [guests | undo]" >&2; exit 2 ;;',
    'esac',
    '',
    ...wayOutCheck(input),
    of('network').join('\n\n'),
    '',
    '[ "${1:-}" = guests ] || exit 0',
    '',
    ...of('guest').map((command) => `${command} &\n`),
    ...inside,
  ].join('\n')}\n`;
}

/** How the private scope's namespaces are made; a script cannot enter them before it runs. */
const namespaceComment = (pasta: string): string =>
  shellComment(
    [
      'This lab lives in a network namespace of its own, and no privilege is needed. To make one, and to run this in it:',
      '  unshare --user --map-root-user --net sh',
      'To give it a way out, run this outside, with the pid of that shell in place of PID:',
      `  ${pasta} PID`,
      'In there you are root of the namespace, and of nothing else.',
    ].join('\n'),
  );

/** pasta is started from outside the namespace: without its interface the script would stop half-way. */
function wayOutCheck(input: RecipeInput): string[] {
  const { lab, scope, uplink } = input;
  if (scope !== 'private' || uplink === null || !lab.networks.some(({ mode }) => forwards(mode))) return [];
  return [
    `if ! ip link show ${uplink} > /dev/null 2>&1; then`,
    `  echo "There is no ${uplink} here, the way out; nothing was made. In another terminal, outside, run:" >&2`,
    `  echo "  ${pastaCommand(sendsIpv6(input))} $PPID" >&2`,
    '  echo "and then this again." >&2',
    '  exit 1',
    'fi',
    '',
  ];
}

function undo(input: RecipeInput): string {
  const { lab, scope, uid, uplink, uplink6 } = input;
  const lines = [
    `  run=${recipeDirectory(lab.name)}`,
    ...lab.networks
      .filter((network) => network.dhcp)
      .map((network) => `  [ ! -e "$run"/${network.name}.pid ] || kill "$(cat "$run"/${network.name}.pid)"`),
    ...lab.guests.flatMap((guest) => guest.nics.map((nic) => `  ip link del ${nic.tap} || true`)),
    ...lab.guests.flatMap((guest) =>
      guest.nics.flatMap(({ tap, shape }) => (isShape(shape) ? [`  ip link del ${ifbOf(tap)} || true`] : [])),
    ),
    ...lab.networks.flatMap((network) =>
      isOwn(network) && network.proxyArp && uplink !== null
        ? proxyCommand(network, uplink, 'del')
            .split('\n')
            .map((line) => `  ${line} || true`)
        : [],
    ),
    ...(uplink6 === null ? [] : [restoreUplink(uid, 'opened6', uplink6)]),
    ...(uplink6 !== null && scope === 'host' && sendsIpv6(input) ? [noRouterForLabs(uid)] : []),
    ...(uplink === null ? [] : [restoreUplink(uid, 'opened', uplink)]),
    `  nft delete table inet tapyard_${uid} || true`,
    ...(lab.networks.some((network) => network.antispoof)
      ? [`  nft delete table bridge tapyard_${uid} || true`]
      : []),
    ...lab.networks.flatMap((network) => (network.interface === null ? [] : giveBack(network))),
    ...lab.networks.filter(hasBridge).map((network) => `  ip link del ${network.name} || true`),
    ...(scope === 'private' && sendsIpv6(input) ? [`  ${noRouter6}`] : []),
    '  rm -rf "$run"',
  ];
  return lines.join('\n');
}

/** The set `router` remembers that the script made it one. */
const noRouterForLabs = (uid: number): string =>
  `  ! nft get element inet tapyard_${uid} router '{ ipv6 }' > /dev/null 2>&1 || ${noRouter6}`;

/** The sets `opened` and `opened6` remember whether the uplink forwarded before. */
const restoreUplink = (uid: number, set: 'opened' | 'opened6', uplink: string): string => {
  const [family, key] = set === 'opened' ? ['ipv4', 'forwarding'] : ['ipv6', 'force_forwarding'];
  return `  ! nft get element inet tapyard_${uid} ${set} '{ "${uplink}" }' > /dev/null 2>&1 || echo 0 > /proc/sys/net/${family}/conf/${uplink}/${key}`;
};
