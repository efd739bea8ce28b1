// Written by build/version.mjs.
export const VERSION = '0.1.0'
