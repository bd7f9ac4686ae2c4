// SPDX-License-Identifier: Apache-2.0

/** The part of noVNC 1.7's interface that is used here (its docs/API.md). */
declare module '@novnc/novnc' {
  import type { RawChannel } from './rfb-channel.ts';

  interface RfbEvents {
    connect: CustomEvent<Record<string, never>>;
    disconnect: CustomEvent<{ clean: boolean }>;
    securityfailure: CustomEvent<{ status: number; reason?: string }>;
    credentialsrequired: CustomEvent<{ types: readonly string[] }>;
  }

  export default class RFB extends EventTarget {
    constructor(target: HTMLElement, channel: RawChannel, options?: { shared?: boolean });
    background: string;
    scaleViewport: boolean;
    focusOnClick: boolean;
    showDotCursor: boolean;
    qualityLevel: number;
    compressionLevel: number;
    disconnect(): void;
    focus(options?: FocusOptions): void;
    blur(): void;
    sendCtrlAltDel(): void;
    sendKey(keysym: number, code: string | null, down?: boolean): void;
    addEventListener<Type extends keyof RfbEvents>(
      type: Type,
      listener: (event: RfbEvents[Type]) => void,
    ): void;
  }
}
