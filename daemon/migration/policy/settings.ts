/**
 * The settings of `set-mplm-migration`, checked by name. They are plain values: whoever keeps them keeps them across
 * migrations, and each migration makes its policy object from them.
 */

export interface MplmSettings {
  /** false: classic pre-copy with the downtime limit. */
  readonly enable: boolean;
  /** Epoch 0 sends non-dirty pages only. */
  readonly firstnondirty: boolean;
  /** Seconds of an epoch, whole, 1 to 86400. */
  readonly intervaltime: number;
  /** A slot moves its cursor one page, whether that page is sent or not. */
  readonly relaxlivemig: boolean;
  /** Dirty slots of each 100, whole, 1 to 99. */
  readonly dirtypercents: number;
}

export const DEFAULT_MPLM_SETTINGS: MplmSettings = Object.freeze({
  enable: true,
  firstnondirty: true,
  intervaltime: 3,
  relaxlivemig: true,
  dirtypercents: 50,
});

const BOUNDS = { intervaltime: [1, 86400], dirtypercents: [1, 99] } as const;

/** A setting that is refused; `parameter` is its name. */
export class SettingError extends RangeError {
  readonly parameter: string;

  constructor(parameter: string, message: string) {
    super(message);
    this.name = 'SettingError';
    this.parameter = parameter;
  }

  /** The parameter is known, its value is not what it `expects`. */
  static value(parameter: string, expects: string, value: unknown): SettingError {
    return new SettingError(parameter, `Parameter '${parameter}' expects ${expects}, not ${shown(value)}`);
  }
}

/** A value as it may stand in an error: short, whatever was given. */
function shown(value: unknown): string {
  if (typeof value === 'string') return `'${value.length > 40 ? `${value.slice(0, 40)}…` : value}'`;
  if (value === null || (typeof value !== 'object' && typeof value !== 'function')) return String(value);
  return Array.isArray(value) ? 'an array' : `a value of type ${typeof value}`;
}

/**
 * `base` with `changes` applied.
 * @param changes untrusted: any subset of the settings; undefined members count as absent
 * @throws SettingError for the first member that is unknown, of the wrong type or out of its range; nothing is applied then
 */
export function mplmSettings(
  changes: Readonly<Record<string, unknown>> | Partial<MplmSettings>,
  base: MplmSettings = DEFAULT_MPLM_SETTINGS,
): MplmSettings {
  const settings = { ...base };
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined) continue;
    switch (name) {
      case 'enable':
      case 'firstnondirty':
      case 'relaxlivemig':
        if (typeof value !== 'boolean') throw SettingError.value(name, 'a boolean', value);
        settings[name] = value;
        break;
      case 'intervaltime':
      case 'dirtypercents': {
        const [low, high] = BOUNDS[name];
        if (typeof value !== 'number' || !Number.isInteger(value) || value < low || value > high)
          throw SettingError.value(name, `an integer from ${low} to ${high}`, value);
        settings[name] = value;
        break;
      }
      default:
        throw new SettingError(name, `Parameter ${shown(name)} is unexpected`);
    }
  }
  return settings;
}
