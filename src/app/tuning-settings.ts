/** How a device moves packets, as commands are told: the setting, and what the environment says besides. */
import { setting } from './config/setting.ts';
import { oneOf } from './flag-values.ts';
import { readTuning, type Tuning, TUNING_VARIABLES } from './tuning.ts';

const parseLanes = (place: string, text: string): Tuning['lanes'] =>
  oneOf(place, text, TUNING_VARIABLES.CULVERT_LANES);

export const TUNING_SETTINGS = {
  lanes: setting(
    {
      flag: '--lanes <lanes>',
      env: 'CULVERT_LANES',
      description:
        'move packets in 1 thread, in 2 (one for each direction), inline (on the main thread), or auto',
      default: 'auto',
      change: 'restart',
    },
    parseLanes,
  ),
};

/** As commander hands it over: the flag's value, or that of the environment. */
export interface TuningFlags {
  readonly lanes?: string;
}

/** The environment's choices, and the flag's over them. Throws usage errors that name the place. */
export function readTuningFlags({ lanes = '' }: TuningFlags, env: NodeJS.ProcessEnv): Tuning {
  const tuning = readTuning(env);
  return lanes === '' ? tuning : { ...tuning, lanes: parseLanes('--lanes', lanes) };
}
