import { emitKeypressEvents } from 'node:readline'

/**
 * Calls a function for each key that is pressed. Does nothing if the input is not a terminal.
 *
 * @param {(key: string) => void} onKey the character, or `ctrl-c`
 * @returns {() => void} gives the terminal back as it was
 */
export function listenToKeys(onKey) {
  const { stdin } = process
  if (!stdin.isTTY) return () => undefined
  emitKeypressEvents(stdin)
  const listener = (/** @type {string} */ text, /** @type {import('node:readline').Key} */ key) => {
    onKey(key.ctrl && key.name === 'c' ? 'ctrl-c' : text)
  }
  stdin.setRawMode(true)
  stdin.on('keypress', listener)
  stdin.resume()
  return () => {
    stdin.off('keypress', listener)
    stdin.setRawMode(false)
    stdin.pause()
  }
}
