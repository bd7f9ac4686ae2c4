// SPDX-License-Identifier: Apache-2.0
import type { ByteIntake, ByteSink } from '../../electron/contract/server.ts';

const encoder = new TextEncoder();

/** Writes to a sink within its credit, in order. */
class Writer {
  readonly #sink: ByteSink;
  #offset = 0;
  #waiting: Uint8Array[] = [];
  closed = false;

  constructor(sink: ByteSink) {
    this.#sink = sink;
    sink.onCredit = () => this.#flush();
  }

  write(bytes: Uint8Array): void {
    this.#waiting.push(bytes);
    this.#flush();
  }

  #flush(): void {
    for (;;) {
      const first = this.#waiting[0];
      if (!first || this.closed || this.#sink.credit <= 0) return;
      const part = first.subarray(0, this.#sink.credit);
      if (part.length === first.length) this.#waiting.shift();
      else this.#waiting[0] = first.subarray(part.length);
      this.#sink.data(part, this.#offset);
      this.#offset += part.length;
    }
  }
}

/** A shell that knows no command: it echoes what is typed and prompts again. */
export function fakeSerial(name: string, sink: ByteSink): ByteIntake {
  const writer = new Writer(sink);
  const prompt = `root@${name}:~# `;
  writer.write(
    encoder.encode(
      `${name} login: root\r\n${prompt}ping -c2 deb.debian.org\r\n` +
        '64 bytes from 203.0.113.1: icmp_seq=1 ttl=63 time=1.34 ms\r\n' +
        `64 bytes from 203.0.113.1: icmp_seq=2 ttl=63 time=1.21 ms\r\n${prompt}`,
    ),
  );
  let line = '';
  const decoder = new TextDecoder();
  return {
    write(chunk) {
      for (const character of decoder.decode(chunk, { stream: true })) {
        if (character === '\r') {
          const answer = line === '' ? '' : `sh: ${line.split(' ')[0] ?? ''}: not found\r\n`;
          writer.write(encoder.encode(`\r\n${answer}${prompt}`));
          line = '';
        } else {
          line += character;
          writer.write(encoder.encode(character));
        }
      }
    },
    close() {
      writer.closed = true;
    },
  };
}

const width = 320;
const height = 200;

/** The handshake and full raw updates of RFB 3.8 (RFC 6143, 7.1 to 7.7.1): stripes that move at each key. */
export function fakeScreen(name: string, sink: ByteSink): ByteIntake {
  const writer = new Writer(sink);
  let stage: 'version' | 'security' | 'init' | 'ready' = 'version';
  let buffer = new Uint8Array();
  let shift = 0;
  writer.write(encoder.encode('RFB 003.008\n'));

  const serverInit = (): Uint8Array => {
    const title = encoder.encode(name);
    const message = new Uint8Array(24 + title.length);
    const view = new DataView(message.buffer);
    view.setUint16(0, width);
    view.setUint16(2, height);
    // 32 bits a pixel, depth 24, little endian, true colour; red at bit 16, green at 8, blue at 0.
    message.set([32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0], 4);
    view.setUint32(20, title.length);
    message.set(title, 24);
    return message;
  };
  const update = (): Uint8Array => {
    const message = new Uint8Array(16 + width * height * 4);
    const view = new DataView(message.buffer);
    view.setUint16(2, 1);
    view.setUint16(8, width);
    view.setUint16(10, height);
    for (let y = 0; y < height; y++) {
      const shade = (((y + shift) >> 3) & 1) * 24 + 16;
      for (let x = 0; x < width; x++)
        message.set([shade + 12, shade + 4, shade, 0], 16 + (y * width + x) * 4);
    }
    return message;
  };
  let pendingRequest = false;
  const changed = (): void => {
    if (!pendingRequest) return;
    pendingRequest = false;
    writer.write(update());
  };
  /** Length of the client's first message, 0 while it is not all there. RFC 6143, 7.5. */
  const messageLength = (): number => {
    const view = new DataView(buffer.buffer, buffer.byteOffset);
    if (stage === 'version') return 12;
    if (stage !== 'ready') return 1;
    switch (buffer[0] ?? -1) {
      case 0:
        return 20;
      case 2:
        return buffer.length < 4 ? 0 : 4 + 4 * view.getUint16(2);
      case 3:
        return 10;
      case 4:
        return 8;
      case 5:
        return 6;
      case 6:
        return buffer.length < 8 ? 0 : 8 + Math.abs(view.getInt32(4));
      default:
        return buffer.length;
    }
  };
  const handle = (message: Uint8Array): void => {
    if (stage === 'version') {
      writer.write(new Uint8Array([1, 1]));
      stage = 'security';
    } else if (stage === 'security') {
      writer.write(new Uint8Array(4));
      stage = 'init';
    } else if (stage === 'init') {
      writer.write(serverInit());
      stage = 'ready';
    } else if (message[0] === 3) {
      pendingRequest = true;
      if (message[1] === 0) changed();
    } else if (message[0] === 4 && message[1] === 1) {
      shift += 8;
      changed();
    }
  };
  return {
    write(chunk) {
      const joined = new Uint8Array(buffer.length + chunk.length);
      joined.set(buffer);
      joined.set(chunk, buffer.length);
      buffer = joined;
      while (buffer.length > 0) {
        const length = messageLength();
        if (length === 0 || buffer.length < length) return;
        const message = buffer.subarray(0, length);
        buffer = buffer.slice(length);
        handle(message);
      }
    },
    close() {
      writer.closed = true;
    },
  };
}
