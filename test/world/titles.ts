// SPDX-License-Identifier: Apache-2.0
import { type ESTree, parseSync } from 'vite';

const roots = new Set(['test', 'it', 'describe']);
/** By these a test runs not at all, not everywhere, alone, or with a failure for success. */
const conditions = new Set(['skip', 'skipIf', 'runIf', 'todo', 'fails', 'only']);

/**
 * The titles of those tests and describes of a test file (of TypeScript or Rust) that run whenever the file does:
 * none of what is skipped, or may be, and none of a comment or a text.
 */
export function titlesThatRun(file: string, text: string): string[] {
  if (!file.endsWith('.rs')) return titles(parseSync(file, text).program);
  const tests = text.matchAll(/^#\[test\]\n((?:#\[.*\]\n)*)fn (\w+)\(\)/gm);
  return [...tests].flatMap(([, attributes, title = '']) => (attributes === '' ? [title] : []));
}

function titles(node: ESTree.Node): string[] {
  if (node.type !== 'CallExpression' || !roots.has(words(node.callee)[0] ?? ''))
    return children(node).flatMap(titles);
  const [title, options] = node.arguments;
  const named = words(node.callee).concat(options?.type === 'ObjectExpression' ? keys(options) : []);
  if (named.some((word) => conditions.has(word)) || skipsItself(node)) return [];
  const own = title?.type === 'Literal' && typeof title.value === 'string' ? [title.value] : [];
  return [...own, ...children(node).flatMap(titles)];
}

/** `describe`, `skipIf` of `describe.skipIf(…)`: who is called, and what of it. */
function words(callee: ESTree.Node): string[] {
  if (callee.type === 'Identifier') return [callee.name];
  if (callee.type === 'MemberExpression') return [...words(callee.object), ...words(callee.property)];
  if (callee.type === 'CallExpression') return words(callee.callee);
  return callee.type === 'TaggedTemplateExpression' ? words(callee.tag) : [];
}

const keys = (options: ESTree.ObjectExpression): string[] =>
  options.properties.flatMap((property) => (property.type === 'Property' ? words(property.key) : []));

/** Whether it skips itself as it runs, by its context. */
const skipsItself = (test: ESTree.Node): boolean =>
  children(test).some(
    (node) =>
      (node.type === 'CallExpression' &&
        words(node.callee).at(-1) === 'skip' &&
        !roots.has(words(node.callee)[0] ?? '')) ||
      skipsItself(node),
  );

const isNode = (value: unknown): value is ESTree.Node =>
  typeof value === 'object' && value !== null && 'type' in value;

const children = (node: ESTree.Node): ESTree.Node[] => Object.values(node).flat().filter(isNode);
