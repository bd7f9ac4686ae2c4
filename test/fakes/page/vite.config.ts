// SPDX-License-Identifier: Apache-2.0
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

/** The renderer over the fake core, for screenshots, tests and the benchmark: never part of the product. */
export default defineConfig({
  base: './',
  plugins: [react()],
  build: {
    outDir: '../../../dist/fake',
    emptyOutDir: true,
    target: 'chrome126',
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 2000,
  },
});
