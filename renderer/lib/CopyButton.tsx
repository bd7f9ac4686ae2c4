// SPDX-License-Identifier: Apache-2.0
import { Check, Copy } from 'lucide-react';
import { useEffect, useState, type ReactElement } from 'react';
import { Button } from './Button.tsx';
import { copyText } from './copy.ts';

/** Copies a text. The check mark shows only after the clipboard took it. */
export function CopyButton({ text, what }: { readonly text: string; readonly what: string }): ReactElement {
  const [state, setState] = useState<'idle' | 'copied' | 'refused'>('idle');
  useEffect(() => {
    if (state === 'idle') return;
    const timer = setTimeout(() => setState('idle'), 1500);
    return () => clearTimeout(timer);
  }, [state]);
  return (
    <Button
      variant="ghost"
      size="small"
      iconOnly
      aria-label={
        state === 'copied'
          ? `${what} copied`
          : state === 'refused'
            ? `The browser refused to copy`
            : `Copy ${what}`
      }
      onPress={() => {
        copyText(text).then(
          () => setState('copied'),
          () => setState('refused'),
        );
      }}
    >
      {state === 'copied' ? <Check aria-hidden /> : <Copy aria-hidden />}
    </Button>
  );
}
