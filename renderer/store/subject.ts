// SPDX-License-Identifier: Apache-2.0

/** A thing on the map that can be selected. Ids are those of the tables; `nat` has its network's, `uplink` its lab's. */
export type Selection = {
  readonly kind: 'guest' | 'network' | 'link' | 'nat' | 'uplink';
  readonly id: string;
};

/** What a command is run on: something selectable, or the lab itself. */
export type Subject = Selection | { readonly kind: 'lab'; readonly id: string };

/**
 * The key that pending work and failures of a subject are kept by. A network and its NAT are one thing in the
 * core, as are a lab and its uplink.
 */
export function subjectKey(subject: Subject): string {
  const kind = subject.kind === 'nat' ? 'network' : subject.kind === 'uplink' ? 'lab' : subject.kind;
  return `${kind}:${subject.id}`;
}

/** Whether both are the same thing, or both nothing. */
export function sameSubject(a: Subject | null, b: Subject | null): boolean {
  return a === b || (a !== null && b !== null && a.kind === b.kind && a.id === b.id);
}
