// SPDX-License-Identifier: Apache-2.0

/** The part of noVNC 1.7's interface that is used here (its docs/API.md). */
declare module '@novnc/novnc' {
  /** A duplex object in the shape of a WebSocket. noVNC looks for these on the object or its direct prototype. */
  export interface RawChannel {
    binaryType: string;
    readonly protocol: string;
    readonly readyState: string | number;
    onopen: (() => void) | null;
    onmessage: ((event: { data: ArrayBuffer }) => void) | null;
    onclose: ((event: { code: number; reason: string; wasClean: boolean }) => void) | null;
    onerror: ((event: unknown) => void) | null;
    send(data: Uint8Array): void;
    close(): void;
  }

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
