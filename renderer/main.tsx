// SPDX-License-Identifier: Apache-2.0
import { mount } from './app/mount.tsx';
import { connectToCore } from './connect/connect.ts';

const root = document.getElementById('root');
if (root) mount(root, connectToCore);
