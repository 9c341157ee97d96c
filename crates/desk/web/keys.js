// What each key does. A binding is the key as the browser names it, with modifiers before it. Presets for people who come from elsewhere
// change the keys of the same actions.

const OURS = {
  accept: ['Space'], next: ['Tab'], previous: ['Shift+Tab'], reject: ['r'], create: ['n'], undo: ['Ctrl+z', 'z'], redo: ['Ctrl+Shift+z', 'Ctrl+y'],
  forward: ['ArrowUp'], backward: ['ArrowDown'], leftwards: ['ArrowLeft'], rightwards: ['ArrowRight'], up: ['PageUp'], down: ['PageDown'],
  turnLeft: ['q'], turnRight: ['e'], flip: ['f'],
  longer: [']'], shorter: ['['], wider: ["'"], narrower: [';'], taller: ['='], lower: ['-'],
  shrink: ['b'], ground: ['g'], copy_size: ['c'], interpolate: ['i'], split: ['x'], merge: ['m'], extend: ['u'], delete: ['Delete'], delete_box: ['Backspace'],
  frameBack: [','], frameOn: ['.'], play: ['p'], worst: ['w'], scopeNext: ['t'], color: ['l'], follow: ['o'], history: ['h'], remark: ['k'], canvas: ['v'], pace: ['Shift+h'], chooseAll: ['Ctrl+a'], help: ['?'],
};

const PRESETS = {
  Boxwright: OURS,
  // SUSTechPOINTS: W S A D move, Q E turn, G flips, space and backspace step through frames.
  SUSTechPOINTS: {
    ...OURS, forward: ['w', 'ArrowUp'], backward: ['s', 'ArrowDown'], leftwards: ['a', 'ArrowLeft'], rightwards: ['d', 'ArrowRight'],
    turnLeft: ['q'], turnRight: ['e'], flip: ['g'], ground: ['j'], frameOn: ['3', '.'], frameBack: ['2', ','], worst: ['v'], canvas: ['Shift+v'], accept: ['Enter', 'Space'],
  },
  // Xtreme1: W A S D and arrows move, Z X turn, C flips, F and T fit, the two page keys step.
  Xtreme1: {
    ...OURS, forward: ['w', 'ArrowUp'], backward: ['s', 'ArrowDown'], leftwards: ['a', 'ArrowLeft'], rightwards: ['d', 'ArrowRight'], up: ['q'], down: ['e'],
    turnLeft: ['z'], turnRight: ['x'], flip: ['c'], undo: ['Ctrl+z'], frameBack: ['PageUp', ','], frameOn: ['PageDown', '.'], split: ['y'], copy_size: ['j'], worst: ['v'], canvas: ['Shift+v'],
  },
};

const SHOWN = {
  ArrowUp: '↑', ArrowDown: '↓', ArrowLeft: '←', ArrowRight: '→', PageUp: 'PgUp', PageDown: 'PgDn', Delete: 'Del', Backspace: '⌫', Enter: '↵',
};

// A binding as it is printed on a keyboard.
export const shown = binding => binding.split(/(?<=.)\+/).map(part => SHOWN[part] ?? (part.length === 1 ? part.toUpperCase() : part)).join(' ');

// Groups of the map that is shown on the screen.
export const GROUPS = [
  ['accept', 'reject', 'next', 'previous', 'undo', 'redo', 'create', 'delete', 'delete_box'],
  ['forward', 'backward', 'leftwards', 'rightwards', 'up', 'down', 'turnLeft', 'turnRight', 'flip'],
  ['longer', 'shorter', 'wider', 'narrower', 'taller', 'lower', 'shrink', 'ground', 'copy_size'],
  ['interpolate', 'split', 'merge', 'extend', 'scopeNext', 'chooseAll', 'pace'],
  ['frameBack', 'frameOn', 'play', 'worst', 'follow', 'color', 'canvas', 'history', 'remark', 'help'],
];

let preset = localStorage.getItem('boxwright.keys') ?? 'Boxwright';
if (!(preset in PRESETS)) preset = 'Boxwright';

export const presets = () => Object.keys(PRESETS);
export const currentPreset = () => preset;
export const keysOf = action => PRESETS[preset][action] ?? [];

export function choosePreset(name) {
  preset = name in PRESETS ? name : 'Boxwright';
  localStorage.setItem('boxwright.keys', preset);
}

// The action of a key press, and whether it is meant finely (Shift held, where Shift is not part of the binding).
export function actionOf(event) {
  const key = event.key === ' ' ? 'Space' : event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const ctrl = event.ctrlKey || event.metaKey ? 'Ctrl+' : '';
  const find = name => Object.keys(OURS).find(action => keysOf(action).includes(name));
  if (event.altKey) return {};
  const exact = find(`${ctrl}${event.shiftKey ? 'Shift+' : ''}${key}`);
  if (exact) return { action: exact, fine: false };
  // Some characters need Shift themselves.
  const plain = find(`${ctrl}${key}`) ?? (event.shiftKey && !ctrl ? find(unshifted(event.code)) : undefined);
  if (plain) return { action: plain, fine: event.shiftKey };
  if (/^[1-9]$/.test(key) && !ctrl) return { action: 'class_n', number: Number(key) };
  return {};
}

const CODES = { BracketRight: ']', BracketLeft: '[', Quote: "'", Semicolon: ';', Equal: '=', Minus: '-', Comma: ',', Period: '.' };
const unshifted = code => CODES[code];
