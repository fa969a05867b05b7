/** The command line, in QEMU's words. What is not supported is refused by name; what means nothing here is in the table of `no_effect.ts`. */
import { type DaemonOptions, defaultOptions } from './daemon_options.js';
import { KeyValues } from './key_values.js';
import { checkMachine, machineOptions } from './machine_options.js';
import { checkChardevs, monitorOptions } from './monitor_options.js';
import { NO_EFFECT } from './no_effect.js';
import type { Draft, OptionSpecs } from './option_spec.js';
import { runOptions } from './run_options.js';
import { UsageError } from './values.js';

/** Every option that does something. */
export const OPTIONS: OptionSpecs = { ...machineOptions, ...monitorOptions, ...runOptions };

/**
 * Parses the arguments after the program's name. Options may begin with one dash or two.
 * @throws UsageError naming the option and the value at fault
 */
export function parseOptions(args: readonly string[]): DaemonOptions {
  const draft: Draft = { ...defaultOptions(), accels: [], backends: [] };
  for (let i = 0; i < args.length; i++) {
    const argument = args[i] as string;
    const name = argument.replace(/^--(?=.)/, '-');
    const spec = Object.hasOwn(OPTIONS, name) ? OPTIONS[name] : undefined;
    const noEffect = Object.hasOwn(NO_EFFECT, name) ? NO_EFFECT[name] : undefined;
    if (!spec && !noEffect) {
      throw new UsageError(argument.startsWith('-') ? `${argument}: invalid option` : `'${argument}' is no option`);
    }
    let value = '';
    if (spec ? spec.form !== undefined : noEffect?.keys !== undefined) {
      const next = args[++i];
      if (next === undefined) throw new UsageError(`${argument}: requires an argument`);
      value = next;
    }
    if (spec) spec.apply(draft, value);
    else if (noEffect?.implied !== undefined) KeyValues.parseOrJson(name, value, noEffect.implied).finish();
    else if (noEffect?.keys) KeyValues.parse(name, value).finish();
  }
  checkMachine(draft);
  checkChardevs(draft);
  const { accels, backends, memoryBackendId, ...options } = draft;
  return options;
}
