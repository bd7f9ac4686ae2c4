// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';

const top = path.resolve(import.meta.dirname, '../..');

/** Which part of the product may import which (docs/architecture.md); Node's built-ins and packages apart. */
const arrows: Readonly<Record<string, readonly string[]>> = {
  'electron/contract': [],
  'electron/core': ['electron/contract'],
  'electron/shell': ['electron/contract', 'electron/core', 'electron/cli'],
  'electron/serve': ['electron/contract', 'electron/core'],
  'electron/cli': ['electron/contract', 'electron/core', 'electron/serve'],
  renderer: ['electron/contract'],
};

/** Packages and built-ins that a part may import; `node:` stands for all of Node's built-ins. */
const packages: Readonly<Record<string, RegExp>> = {
  'electron/contract': /^zod$/,
  'electron/core': /^(node:.*|yaml|ipaddr\.js)$/,
  'electron/shell': /^(node:.*|electron)$/,
  'electron/serve': /^(node:.*|ws)$/,
  'electron/cli': /^node:.*$/,
  renderer:
    /^(react|react-dom|react-dom\/client|react\/jsx-runtime|zustand.*|@xyflow\/react.*|@xterm\/.*|@novnc\/novnc.*|react-aria-components.*|lucide-react|ipaddr\.js.*|vite|@vitejs\/plugin-react|node:path|node:url)$/,
};

function files(dir: string): string[] {
  return readdirSync(dir).flatMap((name) => {
    const where = path.join(dir, name);
    if (statSync(where).isDirectory()) return files(where);
    return /\.(ts|tsx)$/.test(name) && !name.endsWith('.d.ts') ? [where] : [];
  });
}

function imports(file: string): string[] {
  const text = readFileSync(file, 'utf8').replaceAll(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '');
  const found = text.matchAll(
    /^\s*(?:import|export)\b[^;'"]*?\bfrom\s*(['"])([^'"]+)\1|\bimport\s*\(\s*(['"])([^'"]+)\3|^\s*import\s+(['"])([^'"]+)\5/gm,
  );
  return [...found].flatMap((match) => {
    const specifier = match[2] ?? match[4] ?? match[6];
    return specifier === undefined ? [] : [specifier.replace(/\?.*$/, '')];
  });
}

const partOf = (file: string): string | undefined =>
  Object.keys(arrows).find((part) => path.relative(top, file).startsWith(`${part}/`));

for (const [part, allowed] of Object.entries(arrows)) {
  test(`${part} imports only what its place allows`, () => {
    const all = files(path.join(top, part));
    expect(all.length).toBeGreaterThan(0);
    const wrong = all.flatMap((file) =>
      imports(file).flatMap((specifier) => {
        const label = `${path.relative(top, file)} imports ${specifier}`;
        if (specifier.startsWith('.')) {
          const target = path.resolve(path.dirname(file), specifier);
          const to = partOf(target);
          if (to === undefined)
            return path.relative(top, target).startsWith('..') || !target.startsWith(path.join(top, part))
              ? [label]
              : [];
          return to === part || allowed.includes(to) ? [] : [label];
        }
        // Only the page's own build file may know where it is on disk.
        const buildFile = path.basename(file) === 'vite.config.ts';
        if (part === 'renderer' && /^(node:|vite|@vitejs)/.test(specifier)) return buildFile ? [] : [label];
        return packages[part]?.test(specifier) ? [] : [label];
      }),
    );
    expect(wrong).toEqual([]);
  });
}
