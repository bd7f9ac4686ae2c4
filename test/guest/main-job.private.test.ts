// SPDX-License-Identifier: Apache-2.0
import { describe } from 'vitest';
import { mainJob } from './main-job.ts';

describe('the main job as an ordinary user, in the private scope', () => mainJob('private'));
