const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)

/** Whether SDK 3 is installed. It needs Node 22.15, and npm leaves it out on an older one. */
export const hasSdk3 = major > 22 || (major === 22 && minor >= 15)
