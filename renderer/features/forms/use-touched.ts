// SPDX-License-Identifier: Apache-2.0
import { useRef, useState, type RefObject } from 'react';

type Errors<Field extends string> = Readonly<Partial<Record<Field, string>>>;

/** Which fields of a form somebody has been at, so that nobody is told of mistakes not made yet. */
export interface Touched<Field extends string> {
  readonly formRef: RefObject<HTMLFormElement | null>;
  readonly touch: (field: Field) => void;
  /** What is wrong with a field, once it was touched. */
  readonly shown: (field: Field) => string | undefined;
  /** Whether all is right. If not, every mistake shows and the first has the keyboard. */
  readonly passes: () => boolean;
}

export function useTouched<Field extends string>(errors: Errors<Field>): Touched<Field> {
  const formRef = useRef<HTMLFormElement>(null);
  const [touched, setTouched] = useState<ReadonlySet<Field>>(new Set());
  const [all, setAll] = useState(false);
  return {
    formRef,
    touch: (field) => setTouched((fields) => new Set([...fields, field])),
    shown: (field) => (all || touched.has(field) ? errors[field] : undefined),
    passes: () => {
      setAll(true);
      if (Object.keys(errors).length === 0) return true;
      // Where to go on; the message is read with the field.
      requestAnimationFrame(() => formRef.current?.querySelector<HTMLElement>('[aria-invalid]')?.focus());
      return false;
    },
  };
}
