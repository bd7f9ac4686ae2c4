// SPDX-License-Identifier: Apache-2.0
import { defineConfig } from 'vitest/config';

// `unit` needs nothing. The others make namespaces, bridges, guests and browsers, each one
// after the other: two QEMUs and a browser at once make every deadline a lie on a small machine.
const real = { fileParallelism: false, testTimeout: 60_000, hookTimeout: 120_000 };

export default defineConfig({
  test: {
    projects: [
      { test: { name: 'unit', include: ['test/unit/**/*.test.{ts,tsx}'] } },
      { test: { name: 'net', include: ['test/net/**/*.test.ts'], ...real } },
      { test: { name: 'guest', include: ['test/guest/**/*.test.ts'], ...real } },
      { test: { name: 'kernel', include: ['test/kernel/**/*.test.ts'], ...real } },
      { test: { name: 'newer', include: ['test/newer/**/*.test.ts'], ...real } },
      { test: { name: 'ui', include: ['test/ui/**/*.test.ts'], ...real } },
      { test: { name: 'shell', include: ['test/shell/**/*.test.ts'], ...real } },
    ],
  },
});
