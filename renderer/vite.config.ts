// SPDX-License-Identifier: Apache-2.0
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

export default defineConfig({
  // Relative addresses: the same files are served by `tapyard serve` and by Electron's app://.
  base: './',
  plugins: [react()],
  publicDir: 'public',
  build: {
    outDir: '../dist/renderer',
    emptyOutDir: true,
    target: 'chrome126',
    // The polyfill is an inline script for browsers that we do not support; the policy forbids it.
    modulePreload: { polyfill: false },
    // A data: URL would be an address that the policy has to allow.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1200,
    rolldownOptions: {
      output: {
        // Libraries that every first load needs, apart from our own code, so that an update of ours leaves
        // them in the cache. The consoles, the palette and the forms are chunks of their own by import().
        codeSplitting: {
          groups: [
            {
              name: 'react',
              test: /node_modules[\\/](?:react|react-dom|scheduler|zustand|zod)[\\/]/,
              priority: 2,
            },
            { name: 'map', test: /node_modules[\\/]@xyflow[\\/]/, priority: 2 },
          ],
        },
      },
    },
  },
});
