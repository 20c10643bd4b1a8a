// What takes the place of a profile that is shown: made in steps, while the reader goes on with the old one.

import type { Profile } from "../data/profile";
import { initialState, type State } from "../state";
import { Carrier } from "./carry";
import { computeAll, haveSame, TREE_PARTS, type Computed } from "./computed";
import { groupFunctions } from "./groups";
import { Names } from "./names";
import { sourceSteps, type Source } from "./source";
import { part, type Steps } from "./steps";

/** Another profile, the way to it from the one that is shown, and what it shows of what was chosen there. */
export interface Successor extends Computed {
  profile: Profile;
  source: Source;
  carrier: Carrier;
  initial: State;
  state: State;
}

/** What was chosen, in the profile that follows. */
function carryState(carrier: Carrier, initial: State, asked: State): State {
  const state = carrier.state(asked);
  const { before: { profile: { comparison: compared } }, after: { profile: { comparison } } } = carrier;
  // Each is opened as a page of its own would be; without two recordings there is nothing to be of one of them.
  if (comparison && !compared) Object.assign(state, { tab: "difference", normalize: initial.normalize });
  if (!comparison && compared && state.tab === "difference") state.tab = "graph";
  if (!comparison) state.filters = state.filters.filter(({ by }) => by !== "recording");
  return state;
}

/** `asked` says what is chosen at the moment: if that has become something else meanwhile, it is computed for that, too. */
export function* succeed(before: Names, profile: Profile, asked: () => State): Steps<Successor> {
  const names = new Names(profile, yield* part(groupFunctions(profile), 0, 0.1));
  yield 0.1;
  const carrier = new Carrier(before, names);
  yield* part(carrier.learn(), 0.1, 0.2);
  const source = yield* part(sourceSteps(profile), 0.2, 0.4);
  const initial = initialState(names);
  for (;;) {
    const aim = asked();
    const computed = yield* part(computeAll({ profile, source, names }, carryState(carrier, initial, aim)), 0.4, 1);
    const now = asked();
    if (haveSame(TREE_PARTS, aim, now)) return { profile, source, carrier, initial, state: carryState(carrier, initial, now), ...computed };
  }
}
