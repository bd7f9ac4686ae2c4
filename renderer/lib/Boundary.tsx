// SPDX-License-Identifier: Apache-2.0
import { Component, type ReactNode } from 'react';
import { Button } from './Button.tsx';
import { ErrorNote } from './ErrorNote.tsx';
import styles from './Boundary.module.css';

interface BoundaryProps {
  readonly children: ReactNode;
  /** Lies above the window instead of in the place of its part, and can be dismissed by what this does. */
  readonly onDismiss?: () => void;
}

/**
 * Keeps a failure of one part from taking the window away: a part whose code could not be loaded (the core that
 * serves it is gone, or was replaced by another version), or a mistake of ours.
 */
export class Boundary extends Component<BoundaryProps, { readonly message: string | null }> {
  override state = { message: null };

  static getDerivedStateFromError(thrown: unknown): { message: string } {
    return { message: thrown instanceof Error ? thrown.message : String(thrown) };
  }

  override render(): ReactNode {
    const { message } = this.state;
    const { children, onDismiss } = this.props;
    if (message === null) return children;
    return (
      <div className={onDismiss ? styles.above : styles.inPlace} role="alert">
        <ErrorNote
          title="This part of the window could not be drawn"
          error={{
            code: 'INTERNAL',
            message,
            hint: 'Load the page anew. Guests run on, and nothing of theirs is lost.',
          }}
          onDismiss={
            onDismiss &&
            (() => {
              onDismiss();
              this.setState({ message: null });
            })
          }
        >
          <Button size="small" onPress={() => location.reload()}>
            Load the page anew
          </Button>
        </ErrorNote>
      </div>
    );
  }
}
