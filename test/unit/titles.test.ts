// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest';
import { titlesThatRun } from '../world/titles.ts';

test('a test that runs has its title, wherever it stands', () => {
  const text = `
    describe('outer', () => {
      test('plain', () => {});
      it.each([1, 2])('each %i', (n) => {});
      for (const name of names) describe(name, () => test('in a loop', { timeout: 5 }, () => {}));
    });`;
  expect(titlesThatRun('x.test.ts', text)).toEqual(['outer', 'plain', 'each %i', 'in a loop']);
});

test.each([
  `// test('lost', () => {});`,
  `const text = "test('lost', () => {})";`,
  `test.skip('lost', () => {});`,
  `test.todo('lost');`,
  `test.skipIf(!there)('lost', () => {});`,
  `test.runIf(there).each([1])('lost', () => {});`,
  `test.fails('lost', () => {});`,
  `test('lost', { skip: true }, () => {});`,
  `test('lost', ({ skip }) => { if (!there) skip(); });`,
  `test('lost', async (context) => { context.skip('not here'); });`,
  `describe.skip('all', () => { describe('inner', () => { test('lost', () => {}); }); });`,
  `describe.runIf(there)(name, () => { test('lost', () => {}); });`,
])('one that does not, or may not, has none: %s', (text) => {
  expect(titlesThatRun('x.test.ts', text)).toEqual([]);
});

test('so it is in Rust', () => {
  const text = `
#[test]
fn runs() {}
#[test]
#[ignore = "slow"]
fn lost() {}
fn helper() {}
// #[test]
// fn commented() {}
`;
  expect(titlesThatRun('x.rs', text)).toEqual(['runs']);
});
