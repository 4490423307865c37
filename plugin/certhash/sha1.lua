-- SHA-1 (FIPS 180-4) in plain Lua.
--
-- Wireshark has Lua 5.2 up to 4.2 and Lua 5.4 from 4.4.  The first has the library bit32 and no bitwise operators, the
-- second the operators and no bit32.  The operators are syntax errors in 5.2, so the function that uses them is compiled
-- from a string.  The module selects the variant for the interpreter once, when it is loaded.

local M = {}

-- With operators.  Sums may exceed 32 bits: only the lower half matters, and each round masks it.
local OPERATORS = [[
local unpack = string.unpack
local w = {}
return function(text, pos, h0, h1, h2, h3, h4)
    w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], w[9], w[10], w[11], w[12], w[13], w[14], w[15], w[16] =
        unpack(">I4I4I4I4I4I4I4I4I4I4I4I4I4I4I4I4", text, pos)
    for i = 17, 80 do
        local x = w[i - 3] ~ w[i - 8] ~ w[i - 14] ~ w[i - 16]
        w[i] = ((x << 1) | (x >> 31)) & 0xffffffff
    end
    local a, b, c, d, e = h0, h1, h2, h3, h4
    for i = 1, 20 do
        a, b, c, d, e = (((a << 5) | (a >> 27)) + (d ~ (b & (c ~ d))) + e + 0x5a827999 + w[i]) & 0xffffffff,
            a, ((b << 30) | (b >> 2)) & 0xffffffff, c, d
    end
    for i = 21, 40 do
        a, b, c, d, e = (((a << 5) | (a >> 27)) + (b ~ c ~ d) + e + 0x6ed9eba1 + w[i]) & 0xffffffff,
            a, ((b << 30) | (b >> 2)) & 0xffffffff, c, d
    end
    for i = 41, 60 do
        a, b, c, d, e = (((a << 5) | (a >> 27)) + ((b & c) | (d & (b | c))) + e + 0x8f1bbcdc + w[i]) & 0xffffffff,
            a, ((b << 30) | (b >> 2)) & 0xffffffff, c, d
    end
    for i = 61, 80 do
        a, b, c, d, e = (((a << 5) | (a >> 27)) + (b ~ c ~ d) + e + 0xca62c1d6 + w[i]) & 0xffffffff,
            a, ((b << 30) | (b >> 2)) & 0xffffffff, c, d
    end
    return (h0 + a) & 0xffffffff, (h1 + b) & 0xffffffff, (h2 + c) & 0xffffffff,
        (h3 + d) & 0xffffffff, (h4 + e) & 0xffffffff
end
]]

-- With the library: numbers are doubles in Lua 5.2, which represent these sums exactly.
local function with_bit32(bit)
    local band, bxor, lrotate, byte = bit.band, bit.bxor, bit.lrotate, string.byte
    local w = {}
    return function(text, pos, h0, h1, h2, h3, h4)
        for i = 1, 16 do
            local b1, b2, b3, b4 = byte(text, pos, pos + 3)
            w[i] = ((b1 * 256 + b2) * 256 + b3) * 256 + b4
            pos = pos + 4
        end
        for i = 17, 80 do
            w[i] = lrotate(bxor(w[i - 3], w[i - 8], w[i - 14], w[i - 16]), 1)
        end
        local a, b, c, d, e = h0, h1, h2, h3, h4
        for i = 1, 20 do
            a, b, c, d, e = band(lrotate(a, 5) + bxor(d, band(b, bxor(c, d))) + e + 0x5a827999 + w[i], 0xffffffff),
                a, lrotate(b, 30), c, d
        end
        for i = 21, 40 do
            a, b, c, d, e = band(lrotate(a, 5) + bxor(b, c, d) + e + 0x6ed9eba1 + w[i], 0xffffffff),
                a, lrotate(b, 30), c, d
        end
        for i = 41, 60 do
            -- majority function: the two terms have no common bits, so addition equals a bitwise or
            a, b, c, d, e = band(lrotate(a, 5) + band(b, c) + band(d, bxor(b, c)) + e + 0x8f1bbcdc + w[i], 0xffffffff),
                a, lrotate(b, 30), c, d
        end
        for i = 61, 80 do
            a, b, c, d, e = band(lrotate(a, 5) + bxor(b, c, d) + e + 0xca62c1d6 + w[i], 0xffffffff),
                a, lrotate(b, 30), c, d
        end
        return band(h0 + a, 0xffffffff), band(h1 + b, 0xffffffff), band(h2 + c, 0xffffffff),
            band(h3 + d, 0xffffffff), band(h4 + e, 0xffffffff)
    end
end

local operators = load(OPERATORS, "=sha1")
local compress = operators and operators() or with_bit32(bit32)

--- Return the four bytes of a number below 2^32, big-endian.
---@param number integer
---@return string
function M.word(number)
    local low = number % 65536
    local high = (number - low) / 65536
    return string.char(math.floor(high / 256), high % 256, math.floor(low / 256), low % 256)
end

local word = M.word

--- Return a message with the padding and the length that SHA-1 and SHA-256 add: whole blocks of 64 bytes.
---@param message string
---@return string
function M.padded(message)
    local length = #message
    local bits = length * 8
    return message .. "\128" .. string.rep("\0", (55 - length) % 64)
        .. word(math.floor(bits / 4294967296)) .. word(bits % 4294967296)
end

--- Return the SHA-1 of a string of bytes, as a string of 20 bytes.
---@param message string
---@return string
function M.digest(message)
    local text = M.padded(message)
    local h0, h1, h2, h3, h4 = 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0
    for pos = 1, #text, 64 do
        h0, h1, h2, h3, h4 = compress(text, pos, h0, h1, h2, h3, h4)
    end
    return word(h0) .. word(h1) .. word(h2) .. word(h3) .. word(h4)
end

return M
