export { withAdvice, type Advice } from './errors.js'
