// SPDX-License-Identifier: Apache-2.0
import { TapyardError } from '../../contract/error.ts';
import type { FileProblem, LabDefinition } from '../../contract/lab-file.ts';
import { invalidFile, type LoadedFile, loadLabFile } from './lab-file.ts';
import { type ResolvedLab, resolveLab } from './resolve.ts';

/** What it is made from. */
export interface DefinitionOptions {
  readonly lab: string;
  readonly file: string;
  /** The subnets that a definition leaves open, by network. */
  readonly subnets: (definition: LabDefinition) => ReadonlyMap<string, string>;
  /** Another definition is in force. */
  readonly changed: () => void;
}

/** A lab's file as it was read last, and the last definition without mistakes in it, which is in force. */
export class DefinitionInForce {
  readonly #options: DefinitionOptions;
  /** How often a reading of the file was taken. */
  #taken = 0;
  #definition: LabDefinition;
  #resolved: ResolvedLab;
  #hash = '';
  #problems: readonly FileProblem[] = [];

  constructor(options: DefinitionOptions) {
    this.#options = options;
    this.#definition = { name: options.lab, networks: {}, guests: {} };
    this.#resolved = resolveLab(this.#definition);
  }

  get definition(): LabDefinition {
    return this.#definition;
  }

  get resolved(): ResolvedLab {
    return this.#resolved;
  }

  /** Of the file's text; empty while it was never read. */
  get hash(): string {
    return this.#hash;
  }

  /** What is wrong with the file as it is, though another definition is in force. */
  get problems(): readonly FileProblem[] {
    return this.#problems;
  }

  /** Reads the file again. What is wrong with it is in `problems`; it never rejects. */
  async reload(): Promise<void> {
    try {
      // An edit that ended meanwhile knows better than what was read before it.
      let taken, loaded;
      do {
        taken = this.#taken;
        loaded = await loadLabFile(this.#options.file);
      } while (taken !== this.#taken);
      this.take(loaded);
    } catch (thrown) {
      const { message, hint } = TapyardError.from(thrown);
      this.#problems = [
        { line: 1, column: 1, path: '', message, ...(hint === undefined ? {} : { expected: hint }) },
      ];
    }
  }

  /** Reads the file again. Throws LAB_FILE_INVALID, LAB_FILE_MISSING. */
  async require(): Promise<void> {
    const { file } = this.#options;
    this.take(await loadLabFile(file));
    if (this.#problems.length > 0) throw invalidFile(file, this.#problems);
  }

  /** Takes over what was read or written. */
  take({ hash, reading: { definition, problems } }: LoadedFile): void {
    const { lab, subnets, changed } = this.#options;
    this.#taken++;
    this.#hash = hash;
    this.#problems = problems;
    if (!definition) return;
    if (definition.name !== lab) {
      const message = `the lab is called "${lab}" and the file now says "${definition.name}"`;
      const expected = `${lab}; or bring the lab down and open the file anew`;
      this.#problems = [{ line: 1, column: 1, path: 'name', message, expected }];
      return;
    }
    this.#definition = definition;
    this.#resolved = resolveLab(definition, subnets(definition));
    changed();
  }
}
