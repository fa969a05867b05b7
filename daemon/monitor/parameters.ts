/** Kinds of arguments of monitor commands: how each is read from a line, and what is said where it cannot be. */
import { type ReadRegister, readExpression } from './expression.js';
import type { MemoryFormat, MemoryFormatMemory } from './memory_format.js';
import { HmpSyntaxError, type Scanner } from './scanner.js';

/** What reading an argument may need to know. */
export interface ParameterInput {
  /** The command's name with its aliases, as refusals show it. */
  readonly command: string;
  readonly register: ReadRegister;
  readonly format: MemoryFormatMemory;
  /** Letters of the flags that may still follow. */
  readonly laterFlags: string;
}

export interface Parameter<T> {
  /** The letter of a flag. */
  readonly letter?: string;
  /** @throws HmpSyntaxError */
  read(scan: Scanner, input: ParameterInput): T | Promise<T>;
}

/** A word, or a string in double quotes. */
export function word(what = 'string'): Parameter<string> {
  return {
    read(scan, { command }) {
      const value = scan.word();
      if (value === undefined) throw new HmpSyntaxError(`${command}: ${what} expected`);
      return value;
    },
  };
}

/** A file's name. */
export const fileName: Parameter<string> = word('filename');

/** The rest of the line. */
export const restOfLine: Parameter<string> = {
  read(scan, { command }) {
    scan.skipSpaces();
    if (scan.atEnd) throw new HmpSyntaxError(`${command}: string expected`);
    return scan.rest();
  },
};

/** `-x`. */
export function flag(letter: string): Parameter<boolean> {
  return {
    letter,
    read(scan, { command, laterFlags }) {
      scan.skipSpaces();
      if (scan.next !== '-') return false;
      const given = scan.text.charAt(scan.at + 1);
      if (given === letter) {
        scan.at += 2;
        return true;
      }
      if (!laterFlags.includes(given)) throw new HmpSyntaxError(`${command}: unsupported option -${given}`);
      return false;
    },
  };
}

/** `on` or `off`. */
export const onOff: Parameter<boolean> = {
  read(scan) {
    scan.skipSpaces();
    const given = scan.take(/[\x21-\x7e]*/y);
    if (given !== 'on' && given !== 'off') throw new HmpSyntaxError("Expected 'on' or 'off'");
    return given === 'on';
  },
};

/** An expression of 64 bits. */
export const long: Parameter<bigint> = {
  read: (scan, { register }) => readExpression(scan, register),
};

/** An expression whose value has 32 bits. */
export const integer: Parameter<number> = {
  async read(scan, { command, register }) {
    const value = await readExpression(scan, register);
    if (value >> 32n !== 0n) throw new HmpSyntaxError(`'${command}' has failed: integer is for 32-bit values`);
    return Number(value);
  },
};

/** `/FMT` of `x`, `xp` and `print`; what it leaves out is as it was last time. */
export const memoryFormat: Parameter<MemoryFormat> = {
  read(scan, { format }) {
    scan.skipSpaces();
    return format.read(scan);
  },
};

/** A parameter that may be left out at the end of the line. */
export function optional<T>(parameter: Parameter<T>): Parameter<T | undefined> {
  return {
    read(scan, input) {
      scan.skipSpaces();
      return scan.atEnd ? undefined : parameter.read(scan, input);
    },
  };
}
