// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const css = readFileSync(new URL('../../../renderer/lib/tokens.css', import.meta.url), 'utf8');

/** The colour tokens of the block that a selector opens. */
function tokensOf(selector: string): ReadonlyMap<string, string> {
  const start = css.indexOf(`\n${selector} {`);
  const block = css.slice(start, css.indexOf('\n}', start));
  return new Map(
    [...block.matchAll(/--([a-z0-9-]+): (#[0-9a-f]{6});/g)].map((match) => [match[1] ?? '', match[2] ?? '']),
  );
}

const dark = tokensOf(':root');
const light = new Map([...dark, ...tokensOf("[data-theme='light']")]);

/** Relative luminance (WCAG 2.2). */
function luminance(hex: string): number {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const channel = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
    return channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * (red ?? 0) + 0.7152 * (green ?? 0) + 0.0722 * (blue ?? 0);
}

/** Contrast ratio (WCAG 2.2, 1.4.3). */
function contrast(a: string, b: string): number {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return ((high ?? 0) + 0.05) / ((low ?? 0) + 0.05);
}

const text: readonly (readonly [string, readonly string[]])[] = [
  ['text', ['bg', 'surface', 'raised', 'accent-soft', 'ok-soft', 'warn-soft', 'bad-soft']],
  ['muted', ['bg', 'surface', 'raised', 'warn-soft', 'bad-soft']],
  ['faint', ['bg', 'surface', 'raised']],
  ['accent', ['surface', 'raised', 'accent-soft']],
  ['on-accent', ['accent']],
  ['ok', ['bg', 'surface', 'ok-soft']],
  ['warn', ['bg', 'surface', 'warn-soft']],
  ['bad', ['bg', 'surface', 'bad-soft']],
  ['term-text', ['term']],
  ['term-muted', ['term']],
];

const lines: readonly (readonly [string, readonly string[]])[] = [
  ['control', ['bg', 'surface']],
  ['cable', ['bg', 'surface']],
  ['l2', ['bg', 'surface']],
  ['l3', ['bg', 'surface']],
  ['ok', ['bg', 'surface']],
  ['bad', ['bg', 'surface']],
  ['knob', ['ok']],
];

describe.each([
  ['dark', dark],
  ['light', light],
] as const)('%s', (_, tokens) => {
  const colour = (name: string): string => tokens.get(name) ?? `--${name} is missing`;

  it.each(text.flatMap(([front, backs]) => backs.map((back) => [front, back] as const)))(
    'text %s on %s is at least 4.5:1',
    (front, back) => expect(contrast(colour(front), colour(back))).toBeGreaterThanOrEqual(4.5),
  );

  it.each(lines.flatMap(([front, backs]) => backs.map((back) => [front, back] as const)))(
    'line %s on %s is at least 3:1',
    (front, back) => expect(contrast(colour(front), colour(back))).toBeGreaterThanOrEqual(3),
  );
});

it('has the same colours in both themes, by name', () => {
  const shared = new Set(['term', 'term-text', 'term-muted']);
  expect([...tokensOf("[data-theme='light']").keys()].sort()).toEqual(
    [...dark.keys()].filter((name) => !shared.has(name)).sort(),
  );
});
