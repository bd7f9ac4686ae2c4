// SPDX-License-Identifier: Apache-2.0
import type { Row } from '../store/tables.ts';

/** Whether something can be done: `true`, or why not, for people. */
export type Verdict = true | string;

type Guest = Pick<Row<'guests'>, 'state' | 'wanted' | 'name'>;
type Lab = Pick<Row<'labs'>, 'state' | 'name' | 'problems'>;

/** A guest can be started when it is off and its lab is up. */
export function canStart(guest: Guest, lab: Lab | undefined): Verdict {
  if (guest.state !== 'shut off' && guest.state !== 'crashed') return `${guest.name} is ${guest.state}`;
  if (!guest.wanted) return `${guest.name} is no longer in the lab file`;
  if (lab?.state !== 'up') return `bring ${lab?.name ?? 'the lab'} up first`;
  return true;
}

/** The power button reaches a guest that runs. Pressing it again is allowed: some guests miss the first. */
export function canShutdown(guest: Guest): Verdict {
  if (guest.state === 'running' || guest.state === 'shutting down') return true;
  if (guest.state === 'paused') return `${guest.name} is paused; resume it first`;
  return `${guest.name} is ${guest.state}`;
}

/** The plug can be pulled whenever there is a QEMU. */
export function canForceOff(guest: Guest): Verdict {
  return guest.state === 'shut off' || guest.state === 'crashed' ? `${guest.name} is ${guest.state}` : true;
}

/** Only a running guest can be paused. */
export function canPause(guest: Guest): Verdict {
  return guest.state === 'running' ? true : `${guest.name} is ${guest.state}`;
}

/** Only a paused guest can be resumed. */
export function canResume(guest: Guest): Verdict {
  return guest.state === 'paused' ? true : `${guest.name} is ${guest.state}`;
}

/** The reset button works while the CPUs exist. */
export function canReset(guest: Guest): Verdict {
  return guest.state === 'running' || guest.state === 'paused' ? true : `${guest.name} is ${guest.state}`;
}

/** A guest leaves the lab file only when it is off. */
export function canRemove(guest: Guest): Verdict {
  if (!guest.wanted) return `${guest.name} is no longer in the lab file`;
  return guest.state === 'shut off' || guest.state === 'crashed' ? true : `shut ${guest.name} down first`;
}

/** A lab comes up from down, after a failure, or again when something that the file wants is not there. */
export function canBringUp(lab: Lab, complete: boolean): Verdict {
  if (lab.state === 'starting' || lab.state === 'stopping') return `${lab.name} is ${lab.state}`;
  if (lab.state === 'up' && complete) return `${lab.name} is up`;
  return true;
}

/** A lab goes down from up and after a failure; while it is starting, cancel the job instead. */
export function canBringDown(lab: Lab): Verdict {
  if (lab.state === 'up' || lab.state === 'failed') return true;
  return lab.state === 'starting'
    ? `${lab.name} is starting; cancel that instead`
    : `${lab.name} is ${lab.state}`;
}

/** A lab is moved between scopes while nothing else is done with it. */
export function canMove(lab: Lab): Verdict {
  if (lab.state === 'up' || lab.state === 'down') return true;
  return lab.state === 'failed' ? `bring ${lab.name} up or down first` : `${lab.name} is ${lab.state}`;
}

/** A network is edited as long as the lab file has it. */
export function canEditNetwork(network: Pick<Row<'networks'>, 'name' | 'definition'>): Verdict {
  return network.definition ? true : `${network.name} is no longer in the lab file`;
}

/** A network leaves the lab file only when no guest has a NIC on it. */
export function canRemoveNetwork(
  network: Pick<Row<'networks'>, 'name' | 'definition'>,
  guests: readonly Pick<Row<'guests'>, 'name' | 'nics'>[],
): Verdict {
  const users = guests.filter(({ nics }) => nics.some((nic) => nic.network === network.name));
  if (users.length > 0)
    return `${users.map(({ name }) => name).join(', ')} ${users.length === 1 ? 'has a NIC' : 'have NICs'} on it`;
  return canEditNetwork(network);
}

/** NICs are plugged and unplugged while the guest runs, and only written down while it is off. */
export function canChangeNics(guest: Guest): Verdict {
  if (!guest.wanted) return `${guest.name} is no longer in the lab file`;
  if (guest.state === 'paused') return `${guest.name} is paused; resume it first`;
  return ['running', 'shut off', 'crashed'].includes(guest.state) ? true : `${guest.name} is ${guest.state}`;
}

/** NAT is switched where the kernel holds a network that has it. */
export function canSwitchNat(network: Pick<Row<'networks'>, 'name' | 'observed'>): Verdict {
  if (!network.observed) return `${network.name} is not there; bring the lab up first`;
  const { mode } = network.observed;
  return mode === 'nat' ? true : `${network.name} is ${mode}: it has no NAT`;
}
