// SPDX-License-Identifier: Apache-2.0
import { useEffect, useState } from 'react';

/** The time, ms since 1970, renewed every `every` ms. */
export function useNow(every: number): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), every);
    return () => clearInterval(timer);
  }, [every]);
  return now;
}
