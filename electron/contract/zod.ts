// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';

// The page's Content-Security-Policy forbids `eval` and `new Function`; zod must know before the
// first schema is built, or it compiles validators with them.
z.config({ jitless: true });

export { z };
