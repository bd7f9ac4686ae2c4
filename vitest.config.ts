// SPDX-License-Identifier: Apache-2.0
import { defineConfig } from 'vitest/config';

// `unit` needs nothing. `net`, `guest`, `kernel`, `ui` and `shell` make namespaces, bridges, guests and browsers, each one
// after the other: two QEMUs and a browser at once make every deadline a lie on a small machine.
const real = { fileParallelism: false, testTimeout: 60_000, hookTimeout: 120_000 };

// They boot kernels that set-up fetches, and not every machine can.
const kernels = 'test/guest/stock-kernel*.test.ts';

export default defineConfig({
  test: {
    projects: [
      { test: { name: 'unit', include: ['test/unit/**/*.test.{ts,tsx}'] } },
      { test: { name: 'net', include: ['test/net/**/*.test.ts'], ...real } },
      { test: { name: 'guest', include: ['test/guest/**/*.test.ts'], exclude: [kernels], ...real } },
      { test: { name: 'kernel', include: [kernels], ...real } },
      { test: { name: 'ui', include: ['test/ui/**/*.test.ts'], ...real } },
      { test: { name: 'shell', include: ['test/shell/**/*.test.ts'], ...real } },
    ],
  },
});
