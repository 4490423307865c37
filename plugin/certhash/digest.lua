-- Reads the digest in a certHash, and says what is wrong with one that has none.

local M = {}

-- The lengths of the digests that a certHash may contain.
M.ALGORITHMS = { [20] = "SHA-1", [32] = "SHA-256", [64] = "SHA-512" }

local others = ... or {}  -- the modules by name (plain.lua)
local base64 = others.base64

--- Return the bytes of a digest in Base64 and its algorithm, or nil.
---@param text string
---@return string|nil digest
---@return string|nil algorithm
function M.read(text)
    local bytes = base64.decode(text)
    local algorithm = bytes and M.ALGORITHMS[#bytes]
    if algorithm then
        return bytes, algorithm
    end
end

local LONGEST_SHOWN, CERTIFICATE = 90, 200

--- Return a certHash for a message; a value too long for a hash is cut.
---@param text string
---@return string
function M.shown(text)
    text = text:gsub("%s", "")
    if #text <= LONGEST_SHOWN then
        return text
    end
    return ("%s... (%s characters)"):format(text:sub(1, 20), (tostring(#text):gsub("^(%d+)(%d%d%d)$", "%1,%2")))
end

--- Return why a certHash does not decode to a known digest.  scripts/certhash/cnf/rules.py returns the same phrase.
---@param text string
---@return string
function M.why_malformed(text)
    text = text:gsub("%s", "")
    local digits = text:gsub("[:-]", "")
    local lower = text:lower()
    if text == "" then
        return "no certificate can match it"
    elseif #digits == 40 and digits:find("^%x+$") then
        return "this is the thumbprint in hex, but a phone needs Base64"
    elseif #digits == 32 and digits:find("^%x+$") then
        return "this is an MD5 in hex, but a phone compares the SHA-1, in Base64"
    elseif lower:find("^sha256/") or lower:find("^pin%-sha256=") then
        return "this is the pin of a public key, but a phone compares the SHA-1 of the certificate"
    elseif #text > CERTIFICATE and (text:find("^MI") or text:find("^%-%-%-%-%-BEGIN")) then
        return "this is a whole certificate, not its hash; `certhash hash FILE` prints the hash"
    end
    local data = base64.decode(text) or ""
    if #data == 16 then
        return "it has 16 bytes, like an MD5, but a phone compares the SHA-1, which has 20"
    end
    local bytes = data:gsub("(%x%x)[ :-]?", "%1"):gsub("%s*$", "")
    if #bytes == 40 and bytes:find("^%x+$") then
        return "this is the Base64 of the thumbprint's hex text, but a phone needs the Base64 of its bytes"
    end
    return "not the Base64 of a SHA-1, SHA-256 or SHA-512"
end

--- Return a phrase for a hash that is longer than the SHA-1 that a phone compares.  scripts/certhash/cnf/rules.py returns
--- the same phrase.
---@param algorithm string
---@return string
function M.why_longer(algorithm)
    return ("is as long as a %s, of the certificate or of its public key (a pin): a phone compares the SHA-1 of the "
        .. "certificate"):format(algorithm)
end

return M
