// SPDX-License-Identifier: Apache-2.0
import { refusalOf } from './refusal.ts';
import { z } from './zod.ts';

/** Every code of a failure that a user can meet. netd's codes (`docs/netd-protocol.md`) are among them. */
export const errorCodes = [
  // the lab file
  'LAB_FILE_MISSING',
  'LAB_FILE_UNREADABLE',
  'LAB_FILE_INVALID',
  'LAB_FILE_CHANGED',
  'LAB_FILE_UNWRITABLE',
  'NO_SUCH_LAB',
  'LAB_AMBIGUOUS',
  'LAB_BUSY',
  'LAB_NOT_UP',
  'LAB_NAME_TAKEN',
  'LAB_UP_IN_OTHER_SCOPE',
  'NETWORK_NAME_TAKEN',
  'NETWORK_IN_USE',
  // guests and images
  'NO_SUCH_GUEST',
  'NO_SUCH_FORWARD',
  'UDP_NEEDS_RULE',
  'NO_SUCH_NIC',
  'NO_SUCH_INTERFACE',
  'NO_SUCH_IMAGE',
  'IMAGE_MISSING',
  'IMAGE_UNREADABLE',
  'IMAGE_UNSUPPORTED',
  'GUEST_STATE',
  'GUEST_NAME_TAKEN',
  'NO_FREE_PORT',
  'NIC_NOT_RELEASED',
  'QEMU_MISSING',
  'QEMU_FAILED',
  'QEMU_IMG_FAILED',
  'QMP_FAILED',
  'DISK_FULL',
  'CONSOLE_CLOSED',
  'SSH_MISSING',
  // the runtime directory and the core
  'RUNTIME_PATH_TOO_LONG',
  'RUNTIME_DIR_UNSAFE',
  'RUNTIME_DIR_MISSING',
  'STATE_FILE_INVALID',
  'CORE_UNREACHABLE',
  'CONTRACT_MISMATCH',
  // the window and the browser
  'RENDERER_MISSING',
  'SERVE_FAILED',
  'SESSION_INVALID',
  // netd
  'BAD_MESSAGE',
  'BAD_ARGS',
  'TOO_LARGE',
  'HELLO_FIRST',
  'BUSY',
  'NOT_ALLOWED',
  'NO_SUCH_VERB',
  'PROTOCOL_MISMATCH',
  'NAME_TAKEN',
  'SUBNET_OVERLAP',
  'SUBNET_NOT_ON_LAN',
  'ADDRESS_TAKEN',
  'NO_NAT_SWITCH',
  'MODE_NEEDS_HOST_SCOPE',
  'BRIDGE_NOT_ALLOWED',
  'WIFI_CANNOT_BRIDGE',
  'NO_SUCH_BRIDGE',
  'INTERFACE_IN_USE',
  'DNSMASQ_MISSING',
  'DNSMASQ_FAILED',
  'WRONG_LAB',
  'NO_SUCH_NETWORK',
  'NIC_IN_USE',
  'MAC_TAKEN',
  'NETEM_MISSING',
  'SHAPER_MISSING',
  'TUN_MISSING',
  'TUN_UNREADABLE',
  'VHOST_MISSING',
  'BRIDGE_FULL',
  'QUOTA_REACHED',
  'GUEST_UNREACHABLE',
  'DOOR_SHUT',
  'PORT_TAKEN',
  'PORT_DENIED',
  'NO_SUCH_ADDRESS',
  'USERNS_DENIED',
  'PASTA_MISSING',
  'PASTA_FAILED',
  'NO_DEFAULT_ROUTE',
  'NO_IPV6_ROUTE',
  'NETD_MISSING',
  'NETD_FAILED',
  'NETD_RUNNING',
  'HOST_SCOPE_DENIED',
  'HOST_SCOPE_DISMISSED',
  'UNSAFE_PATH',
  'JOURNAL_FAILED',
  'KERNEL',
  'UNREACHABLE',
  'TIMED_OUT',
  // the checks
  'MEND_DENIED',
  'MEND_DISMISSED',
  'MEND_FAILED',
  // everything
  'USAGE',
  'NO_SUCH_CALL',
  'ABORTED',
  'DEADLINE',
  'INTERNAL',
] as const;

/** A code of {@link errorCodes}. */
export const ErrorCode = z.enum(errorCodes);
export type ErrorCode = z.infer<typeof ErrorCode>;

/** Characters of a message, and of a hint or a subject. */
const messageLimit = 8192;
const moreLimit = 4096;

/**
 * A failure as data. `message` says what happened to what, `hint` what to do now, `subject` names the
 * thing (a lab, `seed/br0`, a path). A code from a newer core still renders: the reader shows the message.
 */
export const ErrorData = z.strictObject({
  code: ErrorCode.or(z.string().regex(/^[A-Z][A-Z0-9_]{1,40}$/)),
  message: z.string().max(messageLimit),
  hint: z.string().max(moreLimit).optional(),
  subject: z.string().max(moreLimit).optional(),
});
export type ErrorData = z.infer<typeof ErrorData>;

/** The one exception that crosses our own boundaries; anything else is a bug and becomes `INTERNAL`. */
export class TapyardError extends Error {
  readonly code: ErrorData['code'];
  readonly hint: string | undefined;
  readonly subject: string | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    more: { hint?: string; subject?: string; cause?: unknown } = {},
  ) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.name = 'TapyardError';
    this.code = code;
    this.hint = more.hint ?? refusalOf(code)?.fix;
    this.subject = more.subject;
  }

  /** The error as it travels, its texts cut to what {@link ErrorData} takes: the reader would refuse longer ones. */
  toData(): ErrorData {
    return {
      code: this.code,
      message: this.message.slice(0, messageLimit),
      ...(this.hint === undefined ? {} : { hint: this.hint.slice(0, moreLimit) }),
      ...(this.subject === undefined ? {} : { subject: this.subject.slice(0, moreLimit) }),
    };
  }

  /** The error that somebody else sent. */
  static fromData(data: ErrorData): TapyardError {
    const hint = data.hint ?? refusalOf(data.code)?.fix;
    const error = new TapyardError('INTERNAL', data.message, {
      ...(hint === undefined ? {} : { hint }),
      ...(data.subject === undefined ? {} : { subject: data.subject }),
    });
    // A newer peer may send a code that this build does not know; it must survive the way.
    Object.defineProperty(error, 'code', { value: data.code, enumerable: true });
    return error;
  }

  /** Whatever was thrown, as a {@link TapyardError}. */
  static from(thrown: unknown): TapyardError {
    if (thrown instanceof TapyardError) return thrown;
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return new TapyardError('INTERNAL', `Tapyard made a mistake: ${message}`, {
      hint: 'Please report this with the log.',
      cause: thrown,
    });
  }
}
