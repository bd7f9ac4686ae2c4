// SPDX-License-Identifier: Apache-2.0

function isPlain(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

function same(before: unknown, after: unknown): boolean {
  if (Object.is(before, after)) return true;
  if (Array.isArray(before) && Array.isArray(after)) {
    return before.length === after.length && after.every((value, at) => same(before[at], value));
  }
  if (!isPlain(before) || !isPlain(after)) return false;
  const keys = Object.keys(after);
  return (
    keys.length === Object.keys(before).length &&
    keys.every((key) => key in before && same(before[key], after[key]))
  );
}

/** The list `after`, with every element that equals one of `before` under the same key replaced by that one. */
export function shareByKey<T extends { readonly key: string }>(
  before: readonly T[],
  after: readonly T[],
): readonly T[] {
  const known = new Map(before.map((element) => [element.key, element]));
  let changed = before.length !== after.length;
  const shared = after.map((element, at) => {
    const old = known.get(element.key);
    const kept = old !== undefined && same(old, element) ? old : element;
    if (kept !== before[at]) changed = true;
    return kept;
  });
  return changed ? shared : before;
}
