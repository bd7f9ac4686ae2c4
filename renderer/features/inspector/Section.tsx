// SPDX-License-Identifier: Apache-2.0
import { useId, type ReactElement, type ReactNode } from 'react';
import { CopyButton } from '../../lib/CopyButton.tsx';
import { isLinkLocal } from '../../lib/address.ts';
import { cx } from '../../lib/class-names.ts';
import styles from './Section.module.css';

interface SectionProps {
  readonly title: string;
  readonly action?: ReactNode;
  readonly children?: ReactNode;
}

/** A part of the inspector. */
export function Section({ title, action, children }: SectionProps): ReactElement {
  const id = useId();
  return (
    <section className={styles.section} aria-labelledby={id} data-home>
      <div className={styles.head}>
        <h3 id={id}>{title}</h3>
        {action}
      </div>
      {children}
    </section>
  );
}

/** A list of facts. */
export function Facts({ children }: { readonly children: ReactNode }): ReactElement {
  return <dl className={styles.facts}>{children}</dl>;
}

interface FactProps {
  readonly name: string;
  /** Nothing is drawn for a fact that is not known. */
  readonly value: string | null | undefined;
  /** Said faintly after it: "reserved". */
  readonly note?: string | undefined;
  readonly copy?: boolean;
  readonly words?: boolean;
  readonly faint?: boolean;
}

/** Addresses, one a line. Link-local ones come last and faint. */
export function Addresses({ of }: { readonly of: readonly string[] }): ReactElement {
  const sorted = [...of].sort((a, b) => Number(isLinkLocal(a)) - Number(isLinkLocal(b)));
  return (
    <>
      {sorted.map((address) => (
        <Fact key={address} name="Address" value={address} copy faint={isLinkLocal(address)} />
      ))}
    </>
  );
}

/** One fact; in mono unless it is made of words. */
export function Fact({ name, value, note, copy, words, faint }: FactProps): ReactElement | null {
  if (value === null || value === undefined || value === '') return null;
  return (
    <>
      <dt>{name}</dt>
      <dd className={words ? undefined : styles.mono}>
        <span className={cx(styles.value, faint && styles.note)}>
          {value}
          {note === undefined ? null : <span className={styles.note}> {note}</span>}
        </span>
        {copy ? <CopyButton what={`${name.toLowerCase()} ${value}`} text={value} /> : null}
      </dd>
    </>
  );
}
